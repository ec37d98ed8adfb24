"""FCDD on any convolutional classification net of torchvision, cut at a layer.

The published nets are VGG or plain convolutions; users of the published code asked for residual
trunks and met a wrong receptive field (docs/method.md section 2). Here it follows from the graph.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from fcdd.nets.chain import conv
from fcdd.nets.cut import cut_after, similar
from fcdd.nets.graph import graph_field
from fcdd.vision import torchvision

# Nets whose pretrained weights expect their input scaled anew, and that ask how to be initialised.
_RESCALING = ("googlenet", "inception_v3")


class Trunk(nn.Module):
    """phi: images [b, 3, h, w] to outputs [b, 1, u, v]: a cut net, then a 1 x 1 convolution.

    `features` is the traced net up to the layer; its modules keep torchvision's names.
    """

    def __init__(self, features: fx.GraphModule, *, channels: int) -> None:
        super().__init__()
        self.features = features
        self.conv_final = conv(channels, 1, 1, bias=True)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs [b, 1, u, v]."""
        return self.conv_final(self.features(images))

    def load_trunk(self, weights: Mapping[str, Tensor]) -> None:
        """Copies weights of the whole net into what is left of it. Raises ValueError when they lack
        a layer or do not fit."""
        state = self.features.state_dict()
        for name, tensor in state.items():
            if name not in weights or weights[name].shape != tensor.shape:
                raise ValueError(
                    f"the weights do not fit net.trunk: {name!r} is missing or differs"
                )
            state[name] = weights[name]
        self.features.load_state_dict(state)


def FCDD_TRUNK(
    trunk: str, layer: str, *, size: tuple[int, int] = (224, 224), pretrained: bool = False
) -> Trunk:
    """The torchvision net `trunk` up to `layer` with its own initialisation, for images of `size`.

    `pretrained` readies it for pretrained weights, which `fcdd.nets.build.build` loads. Raises
    ValueError for an unknown trunk or layer, and for layers whose output has no receptive field.
    """
    features = cut_after(_model(trunk, pretrained=pretrained), layer, name=trunk)
    try:
        graph_field(features, size)
    except ValueError as error:
        raise ValueError(f"net.trunk {trunk!r} cut at net.trunk_layer {layer!r}: {error}") from None
    features.eval()  # BatchNorm keeps its statistics while the output is measured
    with torch.device("cpu"), torch.no_grad():
        channels = features(torch.zeros(1, 3, *size)).shape[1]
    features.train()
    return Trunk(features, channels=channels)


def _model(trunk: str, *, pretrained: bool) -> nn.Module:
    models: Any = torchvision().models
    known = models.list_models(module=models)
    if trunk not in known:
        raise ValueError(f"no net.trunk {trunk!r} in torchvision; {similar(trunk, known)}")
    extra = {}
    if trunk in _RESCALING:
        extra = {"init_weights": not pretrained, "transform_input": pretrained}
    # RegNet computes its widths with tensors, so no net is built on the meta device
    with torch.device("cpu"):
        return models.get_model(trunk, weights=None, **extra)
