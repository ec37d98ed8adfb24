"""The list of all nets, and the receptive field of a built one."""

from pathlib import Path
from typing import assert_never

import torch
from torch import fx, nn

from fcdd.catalog import PRETRAINED_NETS
from fcdd.config import Net, Run
from fcdd.data.randomness import generator
from fcdd.nets import autoencoders, hsc, kernel_study, medium, small, vgg
from fcdd.nets.graph import graph_field
from fcdd.nets.trunk import FCDD_TRUNK, Trunk
from fcdd.nets.weights import load_weights
from fcdd.receptive import Axis


def build(run: Run, *, weights: Path | None = None) -> nn.Module:
    """The run's net on the CPU, in training mode: initialisation drawn from `run.seed`, then the
    pretrained weights of nets that start from them, from the file `weights` or by torchvision.

    FCDD nets return [b, 1, u, v], HSC nets [b, d], autoencoders [b, c, h, w]. Raises ValueError
    where pretrained weights are missing or wrong: no such net starts from random ones.
    """
    seed = generator(run.seed, "initialisation").initial_seed()
    with torch.random.fork_rng(devices=[]):  # PyTorch initialises from its global generator only
        torch.manual_seed(seed)
        net = architecture(run.net, size=run.data.shape[1:])
    if run.net.name in PRETRAINED_NETS:
        vgg.load_vgg(net, load_weights("vgg11_bn", file=weights, net=run.net.name))
    elif isinstance(net, Trunk) and run.net.pretrained and run.net.trunk is not None:
        net.load_trunk(load_weights(run.net.trunk, file=weights, net=run.net.trunk))
    return net


def architecture(net: Net, *, size: tuple[int, int] = (224, 224)) -> nn.Module:
    """The net for images of `size`, initialised by PyTorch's global generator and without
    pretrained weights: for tensors loaded afterwards, and for counting on the meta device."""
    bias, frozen = net.bias, net.frozen_batch_norm
    match net.name:
        case "FCDD_CNN28":
            return small.FCDD_CNN28(bias=bias)
        case "FCDD_CNN28_W":
            return small.FCDD_CNN28_W(bias=bias)
        case "FCDD_CNN32":
            return small.FCDD_CNN32(bias=bias)
        case "FCDD_CNN32_S":
            return small.FCDD_CNN32_S(bias=bias)
        case "FCDD_CNN32_LW3K":
            return small.FCDD_CNN32_LW3K(bias=bias)
        case "FCDD_CNN32_3K" | "FCDD_CNN32_5K" | "FCDD_CNN32_7K" | "FCDD_CNN32_9K":
            return kernel_study.kernel_cnn32(_kernel(net.name), bias=bias)
        case "FCDD_CNN32_11K" | "FCDD_CNN32_13K" | "FCDD_CNN32_15K" | "FCDD_CNN32_17K":
            return kernel_study.kernel_cnn32(_kernel(net.name), bias=bias)
        case "FCDD_CNN224":
            return medium.FCDD_CNN224(bias=bias)
        case "FCDD_CNN224_W":
            return medium.FCDD_CNN224_W(bias=bias)
        case "FCDD_CNN224_3K" | "FCDD_CNN224_5K" | "FCDD_CNN224_7K":
            return kernel_study.kernel_cnn224(_kernel(net.name), bias=bias)
        case "FCDD_CNN224_9K" | "FCDD_CNN224_11K" | "FCDD_CNN224_13K":
            return kernel_study.kernel_cnn224(_kernel(net.name), bias=bias)
        case "FCDD_CNN224_VGG":
            return vgg.FCDD_CNN224_VGG()
        case "FCDD_CNN224_VGG_F":
            return vgg.FCDD_CNN224_VGG_F(frozen_batch_norm=frozen)
        case "FCDD_CNN224_VGG_NOPT":
            return vgg.FCDD_CNN224_VGG_NOPT()
        case "FCDD_TRUNK":
            assert net.trunk is not None and net.trunk_layer is not None  # checked by Net
            return FCDD_TRUNK(net.trunk, net.trunk_layer, size=size, pretrained=net.pretrained)
        case "CNN28":
            return hsc.CNN28(bias=bias)
        case "CNN28_W":
            return hsc.CNN28_W(bias=bias)
        case "CNN32":
            return hsc.CNN32(bias=bias)
        case "CNN32_LW3K":
            return hsc.CNN32_LW3K(bias=bias)
        case "CNN224":
            return hsc.CNN224(bias=bias)
        case "CNN224_VGG":
            return vgg.CNN224_VGG()
        case "CNN224_VGG_F":
            return vgg.CNN224_VGG_F(frozen_batch_norm=frozen)
        case "CNN224_VGG_NOPT":
            return vgg.CNN224_VGG_NOPT()
        case "CNN224_VGG_NOPT_1000":
            return vgg.CNN224_VGG_NOPT_1000()
        case "AE28":
            return autoencoders.AE28(bias=bias)
        case "AE28_W":
            return autoencoders.AE28_W(bias=bias)
        case "AE32":
            return autoencoders.AE32(bias=bias)
        case "AE32_LW3K":
            return autoencoders.AE32_LW3K(bias=bias)
        case "AE224":
            return autoencoders.AE224(bias=bias)
        case "AE224_VGG":
            return autoencoders.AE224_VGG()
        case "AE224_VGG_F":
            return autoencoders.AE224_VGG_F(frozen_batch_norm=frozen)
        case "AE224_VGG_NOPT":
            return autoencoders.AE224_VGG_NOPT()
        case unknown:
            assert_never(unknown)


def _kernel(name: str) -> int:
    return int(name.rpartition("_")[2].removesuffix("K"))


def receptive_field(net: nn.Module, size: tuple[int, int]) -> tuple[Axis, Axis]:
    """The receptive field of an FCDD net along (height, width) for images of `size`, from the
    graph of its modules, which is traced once for all nets alike. Raises ValueError for nets that
    do not return a map."""
    alike = (type(net), repr(net), size)
    if alike not in _FIELDS:
        traced = net.features if isinstance(net, Trunk) else fx.symbolic_trace(net)
        _FIELDS[alike] = graph_field(traced, size)
    return _FIELDS[alike]


_FIELDS: dict[tuple[type[nn.Module], str, tuple[int, int]], tuple[Axis, Axis]] = {}


def blur_twin(run: Run) -> tuple[Axis, Axis]:
    """The receptive field along (height, width) of the FCDD net whose Gaussian smooths the heatmaps
    of the run's HSC or AE net (docs/method.md sections 2 and 3); an AE takes its encoder's."""
    with torch.device("meta"):  # only the layers count
        twin = _twin(run)
    return receptive_field(twin, run.data.shape[1:])


def _twin(run: Run) -> nn.Module:
    match run.net.name:
        case "CNN28" | "AE28":
            return small.FCDD_CNN28()
        case "CNN28_W" | "AE28_W":
            return small.FCDD_CNN28_W()
        case "CNN32" | "AE32":
            return small.FCDD_CNN32_S()
        case "CNN32_LW3K" | "AE32_LW3K":
            return small.FCDD_CNN32_LW3K()
        case "CNN224" | "AE224":
            return medium.FCDD_CNN224()
        case "CNN224_VGG" | "CNN224_VGG_F" | "AE224_VGG" | "AE224_VGG_F":
            return vgg.FCDD_CNN224_VGG()
        case "CNN224_VGG_NOPT" | "CNN224_VGG_NOPT_1000" | "AE224_VGG_NOPT":
            return vgg.FCDD_CNN224_VGG_NOPT()
        case _:
            raise ValueError(
                f"net.name {run.net.name!r} has no blur twin: it upsamples by its own receptive "
                "field"
            )
