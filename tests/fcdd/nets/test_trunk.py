import copy

import pytest
import torch

from fcdd.nets.build import receptive_field
from fcdd.nets.trunk import FCDD_TRUNK


def test_a_trunk_is_cut_after_its_layer_and_ends_with_one_channel() -> None:
    net = FCDD_TRUNK("resnet18", "layer2", size=(64, 48))
    names = {name.split(".")[0] for name, _ in net.features.named_parameters()}
    assert names == {"conv1", "bn1", "layer1", "layer2"}
    assert net.conv_final.weight.shape == (1, 128, 1, 1)
    assert net(torch.rand(2, 3, 64, 48)).shape == (2, 1, 8, 6)


def test_a_trunk_computes_what_the_whole_net_computes_at_that_layer() -> None:
    torch.manual_seed(0)
    net = FCDD_TRUNK("resnet18", "layer1", size=(64, 64)).eval()
    torch.manual_seed(0)
    from fcdd.vision import torchvision

    whole = torchvision().models.resnet18(weights=None).eval()
    images = torch.rand(2, 3, 64, 64)
    maps = whole.layer1(whole.maxpool(whole.relu(whole.bn1(whole.conv1(images)))))
    assert torch.equal(net(images), net.conv_final(maps))


def test_measuring_a_trunk_leaves_its_batch_norm_untouched_and_training() -> None:
    net = FCDD_TRUNK("resnet18", "layer1", size=(64, 64))
    assert all(module.training for module in net.modules())
    counts = [t for name, t in net.state_dict().items() if name.endswith("num_batches_tracked")]
    assert len(counts) == 5
    assert all(int(count) == 0 for count in counts)


def test_train_and_evaluation_mode_differ_as_in_the_whole_net() -> None:
    torch.manual_seed(0)
    net = FCDD_TRUNK("efficientnet_b0", "features.5", size=(64, 64))
    images = torch.rand(8, 3, 64, 64)
    net.train()
    drawn = [net(images) for _ in range(3)]
    assert not torch.equal(drawn[0], drawn[1]) or not torch.equal(drawn[0], drawn[2])
    net.eval()
    assert torch.equal(net(images), net(images))


def test_a_trunk_can_be_copied() -> None:
    net = FCDD_TRUNK("resnet18", "layer1", size=(64, 64)).eval()
    images = torch.rand(1, 3, 64, 64)
    again = copy.deepcopy(net)
    assert not any(module.training for module in again.modules())
    assert torch.equal(again(images), net(images))
    assert receptive_field(again, (64, 64)) == receptive_field(net, (64, 64))


@pytest.mark.parametrize(
    ("trunk", "layer", "message"),
    [
        ("resnet19", "layer2", "no net.trunk 'resnet19' in torchvision; close to it: resnet18"),
        ("qqqqqq", "layer2", "no net.trunk 'qqqqqq' in torchvision; known: alexnet"),
        ("resnet18", "layr2", "no net.trunk_layer 'layr2' in 'resnet18'; close to it: layer2"),
        ("resnet18", "layer2.", "no net.trunk_layer 'layer2.'"),
        ("resnet18", "(", "no net.trunk_layer '.' in 'resnet18'; known: avgpool"),
        ("resnet18", "avgpool", "net.trunk_layer 'avgpool': the output must be one map"),
        ("resnet18", "fc", "net.trunk_layer 'fc': no receptive field at 'flatten'"),
        ("swin_t", "features.1", "other operations in training than in evaluation, as attention"),
        ("swin_t", "features.0", "the output must be one map .bchw., not .'bhwc'."),
        ("vit_b_32", "encoder", "no receptive field at 'reshape'"),
    ],
)
def test_what_cannot_be_a_trunk_is_refused_with_what_could(
    trunk: str, layer: str, message: str
) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        FCDD_TRUNK(trunk, layer)


def test_images_too_small_for_the_layer_are_refused() -> None:
    with pytest.raises(ValueError, match="the images are too small"):
        FCDD_TRUNK("squeezenet1_1", "features.12", size=(16, 16))
