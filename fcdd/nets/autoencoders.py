"""Autoencoders: an HSC net and the decoder that mirrors it (docs/method.md section 2).

Output [b, c, h, w] like the input. Transposed convolutions have stride 1, upsampling is nearest.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import nn

from fcdd.catalog import Protocol
from fcdd.nets import hsc, vgg
from fcdd.nets.chain import Chain, flat_norm, norm

Deconv = Callable[..., nn.ConvTranspose2d]


def _deconv(
    before: int, after: int, kernel: int, padding: int | None = None, *, bias: bool
) -> nn.ConvTranspose2d:
    padding = (kernel - 1) // 2 if padding is None else padding
    return nn.ConvTranspose2d(before, after, kernel, padding=padding, bias=bias)


def _xavier(
    before: int, after: int, kernel: int, padding: int | None = None, *, bias: bool
) -> nn.ConvTranspose2d:
    """With Glorot & Bengio's uniform initialisation and the gain of leaky ReLU."""
    layer = _deconv(before, after, kernel, padding, bias=bias)
    nn.init.xavier_uniform_(layer.weight, gain=nn.init.calculate_gain("leaky_relu"))
    return layer


def _up() -> nn.Upsample:
    return nn.Upsample(scale_factor=2)


def _ae28(encoder: Chain, first: int, second: int, *, bias: bool, make: Deconv) -> Chain:
    return Chain(
        OrderedDict(
            encoder=encoder,
            fold=nn.Unflatten(1, (3, 4, 4)),
            relu_fold=nn.LeakyReLU(),
            up1=_up(),
            deconv1=make(3, first, 5, bias=bias),
            bn3=norm(first, bias=bias),
            relu3=nn.LeakyReLU(),
            up2=_up(),
            deconv2=make(first, second, 5, 3, bias=bias),  # 16 pixels to 14
            bn4=norm(second, bias=bias),
            relu4=nn.LeakyReLU(),
            up3=_up(),
            deconv3=make(second, 1, 5, bias=bias),
            sigmoid=nn.Sigmoid(),
        )
    )


def AE28(*, bias: bool = True) -> Chain:
    """For 1 x 28 x 28, around `CNN28`: 11,829 parameters, output in [0, 1]."""
    return _ae28(hsc.CNN28(bias=bias), 4, 8, bias=bias, make=_xavier)


def AE28_W(*, bias: bool = True) -> Chain:
    """For 1 x 28 x 28, around `CNN28_W`: 572,529 parameters, output in [0, 1]."""
    return _ae28(hsc.CNN28_W(bias=bias), 64, 128, bias=bias, make=_deconv)


def AE32(*, bias: bool = True) -> Chain:
    """For 3 x 32 x 32, around `CNN32`: 1,614,019 parameters."""
    make = partial(_xavier, bias=bias)
    return Chain(
        OrderedDict(
            encoder=hsc.CNN32(bias=bias),
            bn1d=flat_norm(64, bias=bias),
            fold=nn.Unflatten(1, (4, 4, 4)),
            relu_fold=nn.LeakyReLU(),
            deconv1=make(4, 128, 5),
            bn2d4=norm(128, bias=bias),
            relu4=nn.LeakyReLU(),
            up1=_up(),
            deconv2=make(128, 64, 5),
            bn2d5=norm(64, bias=bias),
            relu5=nn.LeakyReLU(),
            up2=_up(),
            deconv3=make(64, 32, 5),
            bn2d6=norm(32, bias=bias),
            relu6=nn.LeakyReLU(),
            up3=_up(),
            deconv4=make(32, 3, 5),
        )
    )


def AE32_LW3K(*, bias: bool = True) -> Chain:
    """For 3 x 32 x 32, around `CNN32_LW3K`: 3,458,499 parameters."""
    make = partial(_deconv, bias=bias)
    return Chain(
        OrderedDict(
            encoder=hsc.CNN32_LW3K(bias=bias),
            bn1d=flat_norm(64, bias=bias),
            fold=nn.Unflatten(1, (4, 4, 4)),
            relu_fold=nn.LeakyReLU(),
            deconv1=make(4, 128, 3),
            bn2d4=norm(128, bias=bias),
            relu4=nn.LeakyReLU(),
            up1=_up(),
            deconv2=make(128, 256, 3),
            bn2d5=norm(256, bias=bias),
            relu5=nn.LeakyReLU(),
            deconv25=make(256, 256, 3),
            bn2d55=norm(256, bias=bias),
            relu55=nn.LeakyReLU(),
            up2=_up(),
            deconv3=make(256, 128, 3),
            bn2d6=norm(128, bias=bias),
            relu6=nn.LeakyReLU(),
            up3=_up(),
            deconv4=make(128, 3, 3),
        )
    )


# (output channels, kernel, followed by upsampling)
_AE224 = (
    (64, 3, True),
    (128, 3, True),
    (128, 3, True),
    (64, 3, False),
    (32, 3, True),
    (8, 5, True),
)


def AE224(*, bias: bool = True) -> Chain:
    """For 3 x 224 x 224, around `CNN224`: 6,680,531 parameters, output in [0, 1]."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        encoder=hsc.CNN224(bias=bias),
        bn1d=flat_norm(784, bias=bias),
        fold=nn.Unflatten(1, (16, 7, 7)),
        relu_fold=nn.LeakyReLU(),
    )
    before = 16
    for number, (after, kernel, upsampled) in enumerate(_AE224, start=1):
        layers[f"deconv{number}"] = _xavier(before, after, kernel, bias=bias)
        layers[f"bn2dd{number}"] = norm(after, bias=bias)
        layers[f"relu{number}"] = nn.LeakyReLU()
        if upsampled:
            layers[f"up{number}"] = _up()
        before = after
    layers["deconv7"] = _xavier(before, 3, 5, bias=bias)
    layers["sigmoid"] = nn.Sigmoid()
    return Chain(layers)


# Output channels of the blocks of transposed convolution, BatchNorm and ReLU; None is upsampling.
_VGG = (None, 512, 512, None, 512, 256, None, 256, 128, None, 64, None)


def _around_vgg(encoder: Chain) -> Chain:
    blocks: list[nn.Module] = []
    before = 512
    for after in _VGG:
        if after is None:
            blocks.append(_up())
        else:
            relu = nn.ReLU(inplace=True)
            blocks += [_deconv(before, after, 3, bias=True), nn.BatchNorm2d(after), relu]
            before = after
    flat = (nn.Linear(4096, 512 * 7 * 7), nn.BatchNorm1d(512 * 7 * 7), nn.ReLU(inplace=True))
    return Chain(
        OrderedDict(
            encoder=encoder,
            bn1d=nn.BatchNorm1d(4096),
            relu=nn.ReLU(inplace=True),
            declassifier=nn.Sequential(*flat),
            fold=nn.Unflatten(1, (512, 7, 7)),
            defeatures=nn.Sequential(*blocks, _deconv(before, 3, 3, bias=True)),
        )
    )


def AE224_VGG() -> Chain:
    """For 3 x 224 x 224, around the pretrained `CNN224_VGG`: 240,840,195 parameters."""
    return _around_vgg(vgg.CNN224_VGG())


def AE224_VGG_F(*, frozen_batch_norm: Protocol = "mended") -> Chain:
    """`AE224_VGG` with the encoder's first four convolutions frozen."""
    return _around_vgg(vgg.CNN224_VGG_F(frozen_batch_norm=frozen_batch_norm))


def AE224_VGG_NOPT() -> Chain:
    """`AE224_VGG` from scratch, the encoder initialised as torchvision initialises VGG."""
    return _around_vgg(vgg.CNN224_VGG_NOPT())
