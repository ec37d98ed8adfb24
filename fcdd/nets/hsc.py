"""HSC networks without VGG: images to vectors, for the hypersphere classifier baseline
(docs/method.md section 2)."""

from collections import OrderedDict

from torch import nn

from fcdd.nets.chain import Chain, conv, flat_norm, norm


def _cnn28(first: int, second: int, *, bias: bool) -> Chain:
    return Chain(
        OrderedDict(
            conv1=conv(1, first, 5, bias=bias),
            bn1=norm(first, bias=bias),
            relu1=nn.LeakyReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=conv(first, second, 5, bias=bias),
            bn2=norm(second, bias=bias),
            relu2=nn.LeakyReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc_final=nn.Linear(second * 7 * 7, 48, bias=bias),
        )
    )


def CNN28(*, bias: bool = True) -> Chain:
    """For 1 x 28 x 28: 8 and 4 channels, 10,492 parameters, 48 outputs."""
    return _cnn28(8, 4, bias=bias)


def CNN28_W(*, bias: bool = True) -> Chain:
    """For 1 x 28 x 28: 128 and 64 channels, 359,152 parameters, 48 outputs."""
    return _cnn28(128, 64, bias=bias)


def _head(features: int, hidden: int, outputs: int, *, bias: bool) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        flatten=nn.Flatten(),
        fc1=nn.Linear(features, hidden, bias=bias),
        bn1d1=flat_norm(hidden, bias=bias),
        relu_fc1=nn.LeakyReLU(),
        fc_final=nn.Linear(hidden, outputs, bias=bias),
    )


def CNN32(*, bias: bool = True) -> Chain:
    """For 3 x 32 x 32: 5 x 5 kernels, 1,342,016 parameters, 64 outputs."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=conv(3, 32, 5, bias=bias),
        bn2d1=norm(32, bias=bias),
        relu1=nn.LeakyReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=conv(32, 64, 5, bias=bias),
        bn2d2=norm(64, bias=bias),
        relu2=nn.LeakyReLU(),
        pool2=nn.MaxPool2d(2),
        conv3=conv(64, 128, 5, bias=bias),
        bn2d3=norm(128, bias=bias),
        relu3=nn.LeakyReLU(),
        pool3=nn.MaxPool2d(2),
    )
    return Chain(layers | _head(128 * 4 * 4, 512, 64, bias=bias))


def CNN32_LW3K(*, bias: bool = True) -> Chain:
    """For 3 x 32 x 32: 3 x 3 kernels, four convolutions, 2,268,352 parameters, 64 outputs."""
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
        relu3=nn.LeakyReLU(),
        pool3=nn.MaxPool2d(2),
    )
    return Chain(layers | _head(128 * 4 * 4, 512, 64, bias=bias))


# (output channels, kernel, followed by pooling)
_CNN224 = (
    (8, 5, True),
    (32, 5, True),
    (64, 3, False),
    (128, 3, True),
    (128, 3, True),
    (64, 3, True),
)


def CNN224(*, bias: bool = True) -> Chain:
    """For 3 x 224 x 224: six convolutions, 6,348,128 parameters, 784 outputs."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = 3
    for number, (after, kernel, pooled) in enumerate(_CNN224, start=1):
        layers[f"conv{number}"] = conv(before, after, kernel, bias=bias)
        layers[f"bn2d{number}"] = norm(after, bias=bias)
        layers[f"relu{number}"] = nn.LeakyReLU()
        if pooled:
            layers[f"pool{number}"] = nn.MaxPool2d(3, 2, 1)
        before = after
    return Chain(layers | _head(64 * 7 * 7, 1536, 784, bias=bias))
