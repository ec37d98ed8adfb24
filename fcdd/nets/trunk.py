"""FCDD on any convolutional classification net of torchvision, cut at a layer.

The published nets are VGG or plain convolutions; users of the published code asked for residual
trunks and met a wrong receptive field (docs/method.md section 2). Here it follows from the graph.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, fx, nn

from fcdd.nets.chain import conv
from fcdd.nets.graph import graph_field
from fcdd.vision import torchvision

# Nets whose pretrained weights expect their input scaled anew, and who ask how to be initialised.
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
        return self.conv_final(self.features(images)["map"])

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
    model = _model(trunk, pretrained=pretrained)
    features = _cut(model, trunk, layer)
    try:
        graph_field(features, size)
    except ValueError as error:
        raise ValueError(f"net.trunk {trunk!r} cut at net.trunk_layer {layer!r}: {error}") from None
    features.eval()  # BatchNorm keeps its statistics while the output is measured
    with torch.device("cpu"), torch.no_grad():
        channels = features(torch.zeros(1, 3, *size))["map"].shape[1]
    features.train()
    return Trunk(features, channels=channels)


def _model(trunk: str, *, pretrained: bool) -> nn.Module:
    models: Any = torchvision().models
    known = models.list_models(module=models)
    if trunk not in known:
        raise ValueError(f"no net.trunk {trunk!r} in torchvision; {_similar(trunk, known)}")
    extra = {}
    if trunk in _RESCALING:
        extra = {"init_weights": not pretrained, "transform_input": pretrained}
    # RegNet computes its widths with tensors, so no net is built on the meta device
    with torch.device("cpu"):
        return models.get_model(trunk, weights=None, **extra)


def _cut(model: nn.Module, trunk: str, layer: str) -> fx.GraphModule:
    torchvision()
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names
    from torchvision.models.shufflenetv2 import channel_shuffle

    def tracing() -> dict[str, Any]:  # torchvision writes into what it is given
        return {"autowrap_functions": (channel_shuffle,)}

    names = get_graph_node_names(model, tracer_kwargs=tracing(), suppress_diff_warning=True)
    train, evaluation = ({_head(n, i) for n in each for i in _depths(n)} for each in names)
    if layer not in train & evaluation:
        known = sorted(train & evaluation)
        raise ValueError(f"no net.trunk_layer {layer!r} in {trunk!r}; {_similar(layer, known)}")
    return create_feature_extractor(
        model, {layer: "map"}, tracer_kwargs=tracing(), suppress_diff_warning=True
    )


def _depths(name: str) -> range:
    return range(1, name.count(".") + 2)


def _head(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])


def _similar(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=5, cutoff=0.5)
    if close:
        return f"close to it: {', '.join(close)}"
    top = [one for one in known if "." not in one]
    return f"known: {', '.join(top[:20])}" + (", ..." if len(top) > 20 else "")
