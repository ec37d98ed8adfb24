"""FCDD networks for 28 and 32 pixel images (docs/method.md section 2).

Names of modules are those of the published state dicts. `FCDD_CNN32` and `FCDD_CNN32_LW3K` own a
BatchNorm `bn2d3` that the published forward pass never calls; it is kept for their sizes.
"""

from collections import OrderedDict

from torch import Tensor, nn

_UNUSED = "bn2d3"


class SmallFCDD(nn.Module):
    """phi: images [b, c, h, w] to outputs [b, 1, u, v], its modules run in order."""

    def __init__(self, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def path(self) -> list[nn.Module]:
        """The modules of the forward pass, in order."""
        return [module for name, module in self.named_children() if name != _UNUSED]

    def forward(self, images: Tensor) -> Tensor:
        """Outputs [b, 1, u, v]."""
        for module in self.path():
            images = module(images)
        return images


def _conv(before: int, after: int, kernel: int, *, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, padding=(kernel - 1) // 2, bias=bias)


def _norm(channels: int, *, bias: bool) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-4, affine=bias)


def _cnn28(first: int, second: int, *, bias: bool) -> SmallFCDD:
    return SmallFCDD(
        OrderedDict(
            conv1=_conv(1, first, 5, bias=bias),
            bn2d1=_norm(first, bias=bias),
            relu1=nn.LeakyReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=_conv(first, second, 5, bias=bias),  # neither BatchNorm nor activation follows
            pool2=nn.MaxPool2d(2),
            conv_final=_conv(second, 1, 1, bias=bias),
        )
    )


def _cnn32(kernel: int, *, bias: bool) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        conv1=_conv(3, 32, kernel, bias=bias),
        bn2d1=_norm(32, bias=bias),
        relu1=nn.LeakyReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=_conv(32, 64, kernel, bias=bias),
        bn2d2=_norm(64, bias=bias),
        relu2=nn.LeakyReLU(),
        pool2=nn.MaxPool2d(2),
        conv3=_conv(64, 128, kernel, bias=bias),
    )


def FCDD_CNN28(*, bias: bool = True) -> SmallFCDD:
    """For 1 x 28 x 28: 8 and 16 channels, 3,457 parameters, output 7 x 7."""
    return _cnn28(8, 16, bias=bias)


def FCDD_CNN28_W(*, bias: bool = True) -> SmallFCDD:
    """For 1 x 28 x 28: 128 and 128 channels, 413,441 parameters, output 7 x 7."""
    return _cnn28(128, 128, bias=bias)


def FCDD_CNN32(*, bias: bool = True) -> SmallFCDD:
    """For 3 x 32 x 32: 5 x 5 kernels, 259,201 parameters, output 8 x 8."""
    layers = _cnn32(5, bias=bias)
    layers[_UNUSED] = _norm(128, bias=bias)
    layers["conv_final"] = _conv(128, 1, 1, bias=bias)
    return SmallFCDD(layers)


def FCDD_CNN32_S(*, bias: bool = True) -> SmallFCDD:
    """For 3 x 32 x 32: 3 x 3 kernels, 93,569 parameters, output 8 x 8."""
    layers = _cnn32(3, bias=bias)
    layers["conv_final"] = _conv(128, 1, 1, bias=bias)
    return SmallFCDD(layers)


def FCDD_CNN32_LW3K(*, bias: bool = True) -> SmallFCDD:
    """For 3 x 32 x 32: the paper's CIFAR-10 net, 1,185,537 parameters, output 8 x 8."""
    return SmallFCDD(
        OrderedDict(
            conv1=_conv(3, 128, 3, bias=bias),
            bn2d1=_norm(128, bias=bias),
            relu1=nn.LeakyReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=_conv(128, 256, 3, bias=bias),
            bn2d2=_norm(256, bias=bias),
            relu2=nn.LeakyReLU(),
            conv25=_conv(256, 256, 3, bias=bias),
            bn2d25=_norm(256, bias=bias),
            relu25=nn.LeakyReLU(),
            pool2=nn.MaxPool2d(2),
            conv3=_conv(256, 128, 3, bias=bias),
            bn2d3=_norm(128, bias=bias),
            conv_final=_conv(128, 1, 1, bias=bias),
        )
    )
