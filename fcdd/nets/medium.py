"""FCDD networks for 224 pixel images that are trained from scratch (docs/method.md section 2)."""

from collections import OrderedDict

from torch import nn

from fcdd.nets.chain import Chain, conv, norm

Five = tuple[int, int, int, int, int]


def cnn224(channels: Five, kernels: Five, *, bias: bool) -> Chain:
    """Five convolutions with the given channels and kernels, three poolings, the final 1 x 1."""
    c1, c2, c3, c4, c5 = channels
    k1, k2, k3, k4, k5 = kernels
    return Chain(
        OrderedDict(
            conv1=conv(3, c1, k1, bias=bias),
            bn2d1=norm(c1, bias=bias),
            relu1=nn.LeakyReLU(),
            pool1=nn.MaxPool2d(3, 2, 1),
            conv2=conv(c1, c2, k2, bias=bias),
            bn2d2=norm(c2, bias=bias),
            relu2=nn.LeakyReLU(),
            pool2=nn.MaxPool2d(3, 2, 1),
            conv3=conv(c2, c3, k3, bias=bias),
            bn2d3=norm(c3, bias=bias),
            relu3=nn.LeakyReLU(),
            conv4=conv(c3, c4, k4, bias=bias),
            bn2d4=norm(c4, bias=bias),
            relu4=nn.LeakyReLU(),
            pool3=nn.MaxPool2d(3, 2, 1),
            conv5=conv(c4, c5, k5, bias=bias),  # neither BatchNorm nor activation follows
            conv_final=conv(c5, 1, 1, bias=bias),
        )
    )


def FCDD_CNN224(*, bias: bool = True) -> Chain:
    """For 3 x 224 x 224: 8 to 128 channels, 247,569 parameters, output 28 x 28."""
    return cnn224((8, 32, 64, 128, 128), (5, 5, 3, 3, 3), bias=bias)


def FCDD_CNN224_W(*, bias: bool = True) -> Chain:
    """For 3 x 224 x 224: 32 to 256 channels, 1,286,721 parameters, output 28 x 28."""
    return cnn224((32, 128, 256, 256, 128), (5, 5, 3, 3, 3), bias=bias)
