"""Modules run one after another, and the layers that nets of the paper share.

Names of modules are those of the published state dicts (docs/method.md section 2).
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn


class Chain(nn.Module):
    """Named modules, each applied to what the one before it returned.

    `unused` names modules that the published nets own but never call: they count as parameters and
    stand in the state dict.
    """

    def __init__(self, layers: OrderedDict[str, nn.Module], *, unused: Sequence[str] = ()) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._used = tuple(name for name in layers if name not in unused)

    def path(self) -> list[nn.Module]:
        """The modules of the forward pass, in order."""
        return [self.get_submodule(name) for name in self._used]

    def forward(self, images: Tensor) -> Tensor:
        """What the last module returns for `images` [b, c, h, w]."""
        for module in self.path():
            images = module(images)
        return images


def conv(before: int, after: int, kernel: int, *, bias: bool) -> nn.Conv2d:
    """A convolution that keeps height and width, for odd kernels."""
    return nn.Conv2d(before, after, kernel, padding=(kernel - 1) // 2, bias=bias)


def norm(channels: int, *, bias: bool) -> nn.BatchNorm2d:
    """Batch normalisation of maps with the published eps of nets without VGG."""
    return nn.BatchNorm2d(channels, eps=1e-4, affine=bias)


def flat_norm(features: int, *, bias: bool) -> nn.BatchNorm1d:
    """Batch normalisation of vectors with the published eps of nets without VGG."""
    return nn.BatchNorm1d(features, eps=1e-4, affine=bias)
