"""VGG-11 with batch normalisation (Simonyan & Zisserman 2015) as the paper uses it: its first
blocks as the trunk of FCDD nets, all of it as HSC nets (docs/method.md section 2).

Built from torch.nn alone; indices and names are those of torchvision's `vgg11_bn`, so that its
weights fit. A net whose name says "pretrained" gets them from `fcdd.nets.build.build`.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Self

from torch import Tensor, nn

from fcdd.catalog import Protocol
from fcdd.nets.chain import Chain, conv

# Output channels of the convolutions; None is a max pooling.
_VGG11 = (64, None, 128, None, 256, 256, None, 512, 512, None, 512, 512, None)
_CUT = 21  # the FCDD trunk ends with the activation of the sixth convolution
_FROZEN = 15  # the first four convolutions and their BatchNorm do not learn in the nets "_F"


class Features(nn.Sequential):
    """Convolution blocks, the first `frozen` modules of which do not learn.

    With `frozen_batch_norm="mended"` their BatchNorm keeps its statistics, too: it stays in
    evaluation mode. "published": it goes on normalising by the batch and updating them.
    """

    def __init__(
        self, *layers: nn.Module, frozen: int = 0, frozen_batch_norm: Protocol = "mended"
    ) -> None:
        super().__init__(*layers)
        self._frozen = frozen
        self._held = frozen_batch_norm == "mended"
        for index in range(frozen):
            self[index].requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation mode, leaving held BatchNorm in evaluation mode."""
        super().train(mode)
        if self._held:
            for index in range(self._frozen):
                self[index].eval()
        return self


def _blocks() -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = 3
    for after in _VGG11:
        if after is None:
            layers.append(nn.MaxPool2d(2))
        else:
            relu = nn.ReLU(inplace=True)
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), relu]
            before = after
    return layers


def _trunk(features: Features) -> Chain:
    return Chain(OrderedDict(features=features, conv_final=conv(512, 1, 1, bias=True)))


def FCDD_CNN224_VGG() -> Chain:
    """For 3 x 224 x 224: the pretrained trunk, 4,504,833 parameters, output 28 x 28."""
    return _trunk(Features(*_blocks()[:_CUT]))


def FCDD_CNN224_VGG_F(*, frozen_batch_norm: Protocol = "mended") -> Chain:
    """`FCDD_CNN224_VGG` with its first four convolutions frozen; 3,542,529 parameters learn."""
    return _trunk(Features(*_blocks()[:_CUT], frozen=_FROZEN, frozen_batch_norm=frozen_batch_norm))


def FCDD_CNN224_VGG_NOPT() -> Chain:
    """`FCDD_CNN224_VGG` from scratch, with PyTorch's default initialisation, not VGG's own."""
    return FCDD_CNN224_VGG()


def _whole(features: Features, *, head: bool = False) -> Chain:
    classifier: list[nn.Module] = [
        nn.Linear(512 * 7 * 7, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(4096, 4096),
    ]
    if head:
        classifier += [nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(4096, 1000)]
    # torchvision's pooling to 7 x 7 before the classifier changes nothing at 224 pixels
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        features=features, flatten=nn.Flatten(), classifier=nn.Sequential(*classifier)
    )
    return Chain(OrderedDict(vgg=Chain(layers)))


def CNN224_VGG() -> Chain:
    """HSC, 3 x 224 x 224: pretrained up to 4,096 outputs, 128,771,840 parameters."""
    return _whole(Features(*_blocks()))


def CNN224_VGG_F(*, frozen_batch_norm: Protocol = "mended") -> Chain:
    """`CNN224_VGG` with its first four convolutions frozen."""
    return _whole(Features(*_blocks(), frozen=_FROZEN, frozen_batch_norm=frozen_batch_norm))


def CNN224_VGG_NOPT() -> Chain:
    """`CNN224_VGG` from scratch, initialised as torchvision initialises VGG."""
    net = CNN224_VGG()
    _initialise(net)
    return net


def CNN224_VGG_NOPT_1000() -> Chain:
    """HSC, 3 x 224 x 224: all of VGG-11 from scratch, 1,000 outputs, 132,868,840 parameters."""
    net = _whole(Features(*_blocks()), head=True)
    _initialise(net)
    return net


def _initialise(net: nn.Module) -> None:
    """torchvision's initialisation of VGG: He et al. 2015 over the fan-out of convolutions, normal
    with standard deviation 0.01 for linear layers, biases of 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def load_vgg(net: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copies torchvision's `vgg11_bn` weights into every VGG layer of `net`, an FCDD, HSC or AE
    net; what VGG does not have (the final 1 x 1 convolution, a decoder) stays as it is.

    Raises ValueError for weights that lack a layer or do not fit.
    """
    for prefix in ("encoder.vgg.", "vgg.", ""):
        names = [n for n in net.state_dict() if n.startswith(f"{prefix}features.")]
        if names:
            break
    else:
        raise ValueError(f"{type(net).__name__} has no VGG layers to load weights into")
    state = net.state_dict()
    for name in state:
        inner = name.removeprefix(prefix)
        if not name.startswith(prefix) or not inner.startswith(("features.", "classifier.")):
            continue
        if inner not in weights or weights[inner].shape != state[name].shape:
            found = tuple(weights[inner].shape) if inner in weights else "nothing"
            raise ValueError(
                f"the weights have {found} for {inner!r} of vgg11_bn, where "
                f"{tuple(state[name].shape)} is needed; use torchvision's file for vgg11_bn"
            )
        state[name] = weights[inner]
    net.load_state_dict(state)
