"""FCDD networks of the paper's study of the receptive field: one kernel size varies
(docs/method.md section 2)."""

from collections import OrderedDict

from torch import nn

from fcdd.nets.chain import Chain, conv, norm
from fcdd.nets.medium import cnn224


def kernel_cnn224(kernel: int, *, bias: bool = True) -> Chain:
    """FCDD_CNN224_{3, 5, ..., 13}K: FCDD_CNN224_W with every kernel but the last of this size."""
    return cnn224((32, 128, 256, 256, 128), (kernel, kernel, kernel, kernel, kernel), bias=bias)


def kernel_cnn32(kernel: int, *, bias: bool = True) -> Chain:
    """FCDD_CNN32_{3, 5, ..., 17}K for 3 x 32 x 32: the first kernel is of this size."""
    return Chain(
        OrderedDict(
            conv1=conv(3, 128, kernel, bias=bias),
            bn2d1=norm(128, bias=bias),
            relu1=nn.LeakyReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=conv(128, 256, 3, bias=bias),
            bn2d2=norm(256, bias=bias),
            relu2=nn.LeakyReLU(),
            pool2=nn.MaxPool2d(2),
            conv3=conv(256, 128, 3, bias=bias),  # neither BatchNorm nor activation follows
            conv_final=conv(128, 1, 1, bias=bias),
        )
    )
