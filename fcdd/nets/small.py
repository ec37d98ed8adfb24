"""FCDD networks for 28 and 32 pixel images (docs/method.md section 2).

`FCDD_CNN32` and `FCDD_CNN32_LW3K` own a BatchNorm `bn2d3` that the published forward pass never
calls; it is kept for their sizes and state dicts.
"""

from collections import OrderedDict

from torch import nn

from fcdd.nets.chain import Chain, conv, norm


def _cnn28(first: int, second: int, *, bias: bool) -> Chain:
    return Chain(
        OrderedDict(
            conv1=conv(1, first, 5, bias=bias),
            bn2d1=norm(first, bias=bias),
            relu1=nn.LeakyReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=conv(first, second, 5, bias=bias),  # neither BatchNorm nor activation follows
            pool2=nn.MaxPool2d(2),
            conv_final=conv(second, 1, 1, bias=bias),
        )
    )


def _cnn32(kernel: int, *, bias: bool) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        conv1=conv(3, 32, kernel, bias=bias),
        bn2d1=norm(32, bias=bias),
        relu1=nn.LeakyReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=conv(32, 64, kernel, bias=bias),
        bn2d2=norm(64, bias=bias),
        relu2=nn.LeakyReLU(),
        pool2=nn.MaxPool2d(2),
        conv3=conv(64, 128, kernel, bias=bias),
    )


def FCDD_CNN28(*, bias: bool = True) -> Chain:
    """For 1 x 28 x 28: 8 and 16 channels, 3,457 parameters, output 7 x 7."""
    return _cnn28(8, 16, bias=bias)


def FCDD_CNN28_W(*, bias: bool = True) -> Chain:
    """For 1 x 28 x 28: 128 and 128 channels, 413,441 parameters, output 7 x 7."""
    return _cnn28(128, 128, bias=bias)


def FCDD_CNN32(*, bias: bool = True) -> Chain:
    """For 3 x 32 x 32: 5 x 5 kernels, 259,201 parameters, output 8 x 8."""
    layers = _cnn32(5, bias=bias)
    layers["bn2d3"] = norm(128, bias=bias)
    layers["conv_final"] = conv(128, 1, 1, bias=bias)
    return Chain(layers, unused=["bn2d3"])


def FCDD_CNN32_S(*, bias: bool = True) -> Chain:
    """For 3 x 32 x 32: 3 x 3 kernels, 93,569 parameters, output 8 x 8."""
    layers = _cnn32(3, bias=bias)
    layers["conv_final"] = conv(128, 1, 1, bias=bias)
    return Chain(layers)


def FCDD_CNN32_LW3K(*, bias: bool = True) -> Chain:
    """For 3 x 32 x 32: the paper's CIFAR-10 net, 1,185,537 parameters, output 8 x 8."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=conv(3, 128, 3, bias=bias),
        bn2d1=norm(128, bias=bias),
        relu1=nn.LeakyReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=conv(128, 256, 3, bias=bias),
        bn2d2=norm(256, bias=bias),
        relu2=nn.LeakyReLU(),
        conv25=conv(256, 256, 3, bias=bias),
        bn2d25=norm(256, bias=bias),
        relu25=nn.LeakyReLU(),
        pool2=nn.MaxPool2d(2),
        conv3=conv(256, 128, 3, bias=bias),
        bn2d3=norm(128, bias=bias),
        conv_final=conv(128, 1, 1, bias=bias),
    )
    return Chain(layers, unused=["bn2d3"])
