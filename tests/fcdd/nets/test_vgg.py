"""The VGG nets against torchvision's, and what frozen means."""

import pytest
import torch
from torch import nn

from fcdd.nets import vgg
from fcdd.vision import torchvision


def test_trunk_computes_what_torchvisions_layers_compute() -> None:
    torchvision()
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    features = make_layers(cfgs["A"], batch_norm=True)
    for module in features:
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    net = vgg.FCDD_CNN224_VGG().eval()
    weights = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
    vgg.load_vgg(net, weights)
    features.eval()
    images = torch.rand(2, 3, 40, 56)
    maps = features[:21](images)
    assert maps.shape == (2, 512, 5, 7)
    assert torch.equal(net(images), net.get_submodule("conv_final")(maps))


def test_hsc_net_has_torchvisions_layers_names_and_shapes() -> None:
    with torch.device("meta"):
        theirs = torchvision().models.vgg11_bn()
        ours = vgg.CNN224_VGG_NOPT_1000().get_submodule("vgg")
    assert {name: t.shape for name, t in ours.state_dict().items()} == {
        name: t.shape for name, t in theirs.state_dict().items()
    }
    kinds = [type(module) for module in theirs.classifier]
    assert [type(module) for module in ours.get_submodule("classifier").children()] == kinds
    with torch.device("meta"):
        cut = vgg.CNN224_VGG().get_submodule("vgg.classifier")
    # the published code drops the last three modules of the classifier
    assert [type(module) for module in cut.children()] == kinds[:-3]


def test_weights_that_lack_a_layer_or_do_not_fit_are_refused() -> None:
    net = vgg.FCDD_CNN224_VGG()
    weights = {name: t for name, t in net.state_dict().items() if "conv_final" not in name}
    without = {name: t for name, t in weights.items() if name != "features.8.weight"}
    with pytest.raises(ValueError, match=r"nothing for 'features.8.weight' .*\(256, 128, 3, 3\)"):
        vgg.load_vgg(net, without)
    wrong = weights | {"features.8.weight": torch.zeros(2, 2)}
    with pytest.raises(ValueError, match=r"\(2, 2\) for 'features.8.weight'"):
        vgg.load_vgg(net, wrong)


def _batch_norms(net: nn.Module) -> dict[int, nn.BatchNorm2d]:
    features = dict(net.get_submodule("features").named_children())
    return {int(i): m for i, m in features.items() if isinstance(m, nn.BatchNorm2d)}


def _means(module: nn.BatchNorm2d) -> torch.Tensor:
    assert module.running_mean is not None
    return module.running_mean


def test_held_batch_norm_keeps_its_statistics_and_the_published_one_drifts() -> None:
    torch.manual_seed(0)
    images = torch.rand(8, 3, 32, 32)
    for kind, drifting in (("mended", [16, 19]), ("published", [1, 5, 9, 12, 16, 19])):
        net = vgg.FCDD_CNN224_VGG_F(frozen_batch_norm=kind)  # pyright: ignore[reportArgumentType]
        before = {i: _means(m).clone() for i, m in _batch_norms(net).items()}
        net.eval()
        net.train()
        net(images)
        changed = [i for i, m in _batch_norms(net).items() if not torch.equal(_means(m), before[i])]
        assert changed == drifting
        assert [i for i, m in _batch_norms(net).items() if m.training] == drifting
        net.eval()
        assert not any(module.training for module in net.modules())


def test_held_batch_norm_normalises_an_image_the_same_in_any_batch() -> None:
    torch.manual_seed(0)
    net = vgg.FCDD_CNN224_VGG_F()
    net.train()
    first = nn.Sequential(*list(net.get_submodule("features").children())[:15])
    images = torch.rand(6, 3, 32, 32)
    torch.testing.assert_close(first(images)[:2], first(images[:2]))
    published = vgg.FCDD_CNN224_VGG_F(frozen_batch_norm="published")
    published.load_state_dict(net.state_dict())
    first = nn.Sequential(*list(published.get_submodule("features").children())[:15])
    assert not torch.allclose(first(images)[:2], first(images[:2]))


def test_frozen_layers_get_no_gradient_and_the_others_do() -> None:
    torch.manual_seed(0)
    net = vgg.FCDD_CNN224_VGG_F()
    net(torch.rand(4, 3, 32, 32)).square().mean().backward()
    moved = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    still = {name for name, p in net.named_parameters() if p.grad is None}
    assert {name.split(".")[1] for name in still} == {"0", "1", "4", "5", "8", "9", "11", "12"}
    # the bias of a convolution before BatchNorm has no effect, so a zero gradient
    assert {"features.15.weight", "features.18.weight", "conv_final.weight"} <= moved
