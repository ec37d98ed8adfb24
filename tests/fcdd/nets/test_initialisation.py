"""What nets start from: PyTorch's defaults, with the published exceptions."""

from math import sqrt

import pytest
import torch
from torch import nn

from fcdd.nets import autoencoders, medium, vgg


def assert_uniform(weight: torch.Tensor, bound: float) -> None:
    assert weight.abs().max().item() <= bound
    assert weight.abs().max().item() > 0.98 * bound
    assert weight.std().item() == pytest.approx(bound / sqrt(3), rel=0.05)


def test_convolutions_start_from_pytorchs_default() -> None:
    torch.manual_seed(0)
    nets = (medium.FCDD_CNN224(), vgg.FCDD_CNN224_VGG_NOPT())
    convolutions = [module for net in nets for module in net.modules() if type(module) is nn.Conv2d]
    assert len(convolutions) == 6 + 7
    for conv in convolutions:
        # kaiming_uniform_ with a = sqrt(5) is U(-1/sqrt(fan_in), 1/sqrt(fan_in))
        fan_in = conv.in_channels * conv.kernel_size[0] ** 2
        if conv.weight.numel() > 5000:
            assert_uniform(conv.weight, 1 / sqrt(fan_in))
        assert conv.bias is not None
        assert conv.bias.abs().max().item() <= 1 / sqrt(fan_in)
        assert conv.bias.abs().max().item() > 0


def _deconvolutions(net: nn.Module) -> list[nn.ConvTranspose2d]:
    return [module for module in net.modules() if isinstance(module, nn.ConvTranspose2d)]


@pytest.mark.parametrize(("name", "layers"), [("AE28", 3), ("AE32", 4), ("AE224", 7)])
def test_decoders_start_from_xavier_with_leaky_gain(name: str, layers: int) -> None:
    torch.manual_seed(0)
    found = _deconvolutions(getattr(autoencoders, name)())
    assert len(found) == layers
    for deconv in found:
        fans = (deconv.in_channels + deconv.out_channels) * deconv.kernel_size[0] ** 2
        bound = sqrt(2 / (1 + 0.01**2)) * sqrt(6 / fans)
        assert deconv.weight.abs().max().item() <= bound
        if deconv.weight.numel() > 5000:
            assert_uniform(deconv.weight, bound)


@pytest.mark.parametrize("name", ["AE28_W", "AE32_LW3K"])
def test_wide_decoders_start_from_pytorchs_default(name: str) -> None:
    torch.manual_seed(0)
    for deconv in _deconvolutions(getattr(autoencoders, name)()):
        if deconv.weight.numel() > 5000:
            fan_in = deconv.out_channels * deconv.kernel_size[0] ** 2
            assert_uniform(deconv.weight, 1 / sqrt(fan_in))


def test_hsc_vgg_from_scratch_starts_as_torchvision_starts_vgg() -> None:
    torch.manual_seed(0)
    net = vgg.CNN224_VGG_NOPT()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * 9
            if module.weight.numel() > 5000:
                assert module.weight.std().item() == pytest.approx(sqrt(2 / fan_out), rel=0.05)
        elif isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.01)
        elif isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all())
        else:
            continue
        assert module.bias is not None
        assert bool((module.bias == 0).all())
