"""Snapshots of the published code: written here as it writes them, imported, compared."""

import io
import json
import pickle
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR

from fcdd.catalog import NET_SHAPES, NetName
from fcdd.config import Net, Run
from fcdd.data.constants import Normalisation
from fcdd.model_file import read_model
from fcdd.nets.build import architecture
from fcdd.snapshot_config import Custom, published_run, read_arguments
from fcdd.snapshots import fitting_nets, import_snapshot, read_state
from jobs.commands.snapshots import import_snapshot as command

CUSTOM = Custom(
    classes=("bolts", "nuts"),
    layout="nominal_anomalous",
    maps=False,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.1, 0.3),
)


def arguments(**changes: Any) -> dict[str, Any]:
    """What the published code writes for a Fashion-MNIST run."""
    return {
        "objective": "fcdd",
        "batch_size": 128,
        "epochs": 400,
        "workers": 4,
        "learning_rate": 0.01,
        "weight_decay": 1e-06,
        "optimizer_type": "sgd",
        "scheduler_type": "lambda",
        "lr_sched_param": [0.98],
        "load": None,
        "dataset": "fmnist",
        "net": "FCDD_CNN28_W",
        "preproc": "lcnaug1",
        "acc_batches": 1,
        "bias": True,
        "cuda": True,
        "supervise_mode": "noise",
        "noise_mode": "cifar100",
        "oe_limit": float("inf"),
        "online_supervision": True,
        "nominal_label": 0,
        "blur_heatmaps": False,
        "gauss_std": 1.2,
        "quantile": 0.85,
        "resdown": 64,
        "datadir": "../../data/datasets",
        "normal_class": 3,
        "logdir": "../../data/results/fcdd_{t}_fmnist_/normal_3/it_2",
        "log_start_time": 1690000000,
        "viz_ids": [],
        **changes,
    }


MVTEC = {
    "dataset": "mvtec",
    "net": "FCDD_CNN224_VGG_F",
    "normal_class": 9,
    "batch_size": 16,
    "acc_batches": 8,
    "epochs": 200,
    "learning_rate": 0.001,
    "weight_decay": 0.0001,
    "lr_sched_param": [0.985],
    "supervise_mode": "malformed_normal",
    "noise_mode": "confetti",
    "gauss_std": 12.0,
}
CIFAR10 = {
    "dataset": "cifar10",
    "net": "FCDD_CNN32_LW3K",
    "preproc": "aug1",
    "batch_size": 20,
    "acc_batches": 10,
    "epochs": 600,
    "optimizer_type": "adam",
    "scheduler_type": "milestones",
    "lr_sched_param": [0.1, 400.0, 500.0],
    "learning_rate": 0.001,
}
IMAGENET = CIFAR10 | {"dataset": "imagenet", "net": "FCDD_CNN224_VGG_NOPT", "gauss_std": 8.0}
BASELINE = {"supervise_mode": "unsupervised", "objective": "ae", "blur_heatmaps": True}


def write_config(folder: Path, net: nn.Module, given: dict[str, Any]) -> Path:
    path = folder / "config.txt"
    path.write_text(f"{net}\n\n{json.dumps(given)}\n\nnotes of {{the}} user\n{{1}}")
    return path


def write_snapshot(
    folder: Path, net: nn.Module, *, adam: bool = False, zipped: bool = True
) -> Path:
    """One training step, then `torch.save` of net, optimiser, schedule and number of epochs."""
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.grad = torch.full_like(parameter, 1e-3)
    if adam:
        optimizer: torch.optim.Optimizer = Adam(net.parameters(), lr=1e-3)
        schedule: Any = MultiStepLR(optimizer, [400, 500], gamma=0.1)
    else:
        optimizer = SGD(net.parameters(), lr=1e-2, momentum=0.9, nesterov=True)
        schedule = LambdaLR(optimizer, lambda epoch: 0.98**epoch)
    optimizer.step()
    schedule.step()
    content = {
        "net": net.state_dict(),
        "opt": optimizer.state_dict(),
        "sched": schedule.state_dict(),
        "epoch": 400,
    }
    path = folder / "snapshot.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def _images(name: str) -> Tensor:
    shape = NET_SHAPES.get(name)
    if shape is None:
        shape = (1, 28, 28) if "28" in name else (3, 32, 32) if "CNN32" in name else (3, 64, 64)
    return torch.rand(4, *shape, generator=torch.Generator().manual_seed(1))


def _moved(net: nn.Module) -> nn.Module:
    """With BatchNorm statistics other than those of a new net."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)  # pyright: ignore[reportArgumentType]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # pyright: ignore[reportArgumentType]
    return net


CASES: list[tuple[NetName, dict[str, Any]]] = [
    ("FCDD_CNN28", {}),
    ("FCDD_CNN28_W", {}),
    ("FCDD_CNN32", CIFAR10),
    ("FCDD_CNN32_S", CIFAR10),
    ("FCDD_CNN32_LW3K", CIFAR10),
    ("FCDD_CNN224", IMAGENET | {"noise_mode": "imagenet22k"}),
    ("FCDD_CNN224_W", IMAGENET | {"noise_mode": "imagenet22k"}),
    ("FCDD_CNN224_VGG", IMAGENET | {"noise_mode": "imagenet22k"}),
    ("FCDD_CNN224_VGG_F", MVTEC),
    ("FCDD_CNN224_VGG_NOPT", IMAGENET | {"noise_mode": "imagenet22k"}),
    ("CNN28", {"objective": "hsc", "blur_heatmaps": True}),
    ("CNN28_W", {"objective": "hsc"}),
    ("CNN32", CIFAR10 | {"objective": "hsc"}),
    ("CNN32_LW3K", CIFAR10 | {"objective": "hsc"}),
    ("CNN224", IMAGENET | {"objective": "hsc", "noise_mode": "imagenet"}),
    ("AE28", BASELINE),
    ("AE28_W", BASELINE),
    ("AE32", CIFAR10 | BASELINE),
    ("AE32_LW3K", CIFAR10 | BASELINE),
    ("AE224", IMAGENET | BASELINE),
]


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_an_imported_net_computes_what_the_published_one_did(
    name: NetName, changes: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = _moved(architecture(Net(name=name)))
    given = arguments(**changes | {"net": name})
    adam = given["optimizer_type"] == "adam"
    snapshot = write_snapshot(tmp_path, net, adam=adam)
    config = write_config(tmp_path, net, given)
    run, again, _ = import_snapshot(snapshot, config=config)
    assert run.net.name == name
    assert run.protocol == "published"
    images = _images(name)
    assert torch.equal(again(images), net.eval()(images))


@pytest.mark.parametrize(("zipped", "adam"), [(True, True), (False, True), (False, False)])
def test_both_formats_of_torch_save_are_read(tmp_path: Path, zipped: bool, adam: bool) -> None:
    torch.manual_seed(0)
    net = architecture(Net(name="FCDD_CNN28"))
    state = read_state(write_snapshot(tmp_path, net, adam=adam, zipped=zipped))
    assert list(state) == list(net.state_dict())
    assert all(torch.equal(state[name], t) for name, t in net.state_dict().items())


def test_a_snapshot_without_bias_is_recognised(tmp_path: Path) -> None:
    net = architecture(Net(name="FCDD_CNN28", bias=False))
    snapshot = write_snapshot(tmp_path, net)
    given = arguments(net="FCDD_CNN28", bias=False)
    run, again, _ = import_snapshot(snapshot, config=write_config(tmp_path, net, given))
    assert not run.net.bias
    assert torch.equal(again(_images("28")), net.eval()(_images("28")))


def test_nets_of_several_hundred_megabytes_are_recognised_by_names_and_shapes() -> None:
    groups: list[tuple[NetName, ...]] = [
        ("FCDD_CNN224_VGG", "FCDD_CNN224_VGG_F", "FCDD_CNN224_VGG_NOPT"),
        ("CNN224_VGG", "CNN224_VGG_F", "CNN224_VGG_NOPT"),
        ("CNN224_VGG_NOPT_1000",),
        ("AE224_VGG", "AE224_VGG_F", "AE224_VGG_NOPT"),
        ("FCDD_CNN32_LW3K",),
    ]
    for group in groups:
        with torch.device("meta"):
            state = architecture(Net(name=group[-1])).state_dict()
        assert [net.name for net in fitting_nets(state)] == list(group)


def test_the_run_of_each_published_runner_is_told_exactly() -> None:
    run = published_run(arguments())
    assert (run.data.name, run.data.normal_class, run.seed) == ("fmnist", 3, 2)
    assert (run.supervision.mode, run.outliers.source) == ("outlier_exposure", "cifar100")
    assert run.outliers.limit is None
    assert (run.training.lr, run.training.lr_factor, run.training.epochs) == (0.01, 0.98, 400)
    assert run.heatmaps.gauss_std == 1.2
    assert run.heatmaps.upsampling == run.objective.one_label_batches == "published"

    run = published_run(arguments(**CIFAR10, oe_limit=8))
    assert run.training.batch_size == 200
    assert (run.training.schedule, run.training.lr_milestones) == ("milestones", (400, 500))
    assert run.outliers.limit == 8

    run = published_run(arguments(**MVTEC))
    assert run.training.passes == 10
    assert (run.training.batch_size, run.objective.maps) == (128, True)
    assert (run.supervision.mode, run.supervision.noise) == ("malformed_nominal", "confetti")
    assert run.net.frozen_batch_norm == run.data.resizing == "published"

    run = published_run(arguments(**MVTEC | {"supervise_mode": "malformed_normal_gt"}))
    assert run.supervision.mode == "malformed_nominal_maps"

    few = {"supervise_mode": "noise", "noise_mode": "mvtec_gt", "oe_limit": 1}
    run = published_run(arguments(**MVTEC | few))
    assert (run.supervision.mode, run.supervision.maps_per_defect) == ("few_maps", 1)
    assert run.supervision.labelled_in_test == "published"

    voc = IMAGENET | {"dataset": "pascalvoc", "noise_mode": "imagenet", "normal_class": 0}
    run = published_run(arguments(**voc, nominal_label=1))
    assert (run.data.name, run.data.inverted) == ("pascal_voc", True)
    assert run.data.contrast_stretch == run.outliers.exclusions == "published"

    run = published_run(arguments(net="CNN28", objective="hsc", blur_heatmaps=True))
    assert run.heatmaps.blur == "gaussian"
    hsc = MVTEC | {"net": "CNN224", "objective": "hsc", "blur_heatmaps": True}
    assert published_run(arguments(**hsc)).heatmaps.blur == "none"  # pixel scores were not blurred
    run = published_run(arguments(net="AE28", **BASELINE))
    assert run.heatmaps.blur == "none"  # the published flag did nothing here

    custom = IMAGENET | {"dataset": "custom", "normal_class": 1, "supervise_mode": "other"}
    run = published_run(arguments(**custom), custom=CUSTOM)
    assert (run.data.class_name, run.supervision.mode) == ("nuts", "true_anomalies")


def test_what_the_published_code_ignored_is_not_claimed() -> None:
    assert published_run(arguments(supervise_mode="other")).supervision.mode == "unsupervised"
    hsc = MVTEC | {"net": "CNN224", "objective": "hsc", "supervise_mode": "malformed_normal_gt"}
    assert published_run(arguments(**hsc)).supervision.mode == "malformed_nominal"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "svhn"}, "no dataset 'svhn'; known: fmnist"),
        ({"normal_class": None}, "'normal_class' must be int, but is None"),
        ({"bias": 1}, "'bias' must be bool, but is 1"),
        ({"epochs": 0}, "training.epochs = 0"),
        ({"net": "FCDD_CNN99"}, "net.name = 'FCDD_CNN99'"),
        ({"supervise_mode": "wild"}, "no supervise_mode 'wild'; known: unsupervised"),
        ({"noise_mode": "mvtec"}, "noise_mode 'mvtec' with supervise_mode 'noise' cannot"),
        ({"online_supervision": False}, "--offline-supervision cannot be imported"),
        ({"nominal_label": 1}, "nominal_label 1 on 'fmnist' cannot be imported"),
        ({"oe_limit": 1.5}, "oe_limit 1.5 must be a whole number"),
        ({"scheduler_type": "cosine"}, "scheduler_type 'cosine'"),
        ({"lr_sched_param": []}, "none of lambda, milestones with a factor first"),
        ({"lr_sched_param": ["x"]}, "training.lr_factor = 'x'"),
        ({"scheduler_type": "milestones", "lr_sched_param": [0.1, "x"]}, "then whole numbers"),
        ({**BASELINE, "net": "AE28", "supervise_mode": "noise"}, "'ae', which learns to reconstr"),
        (
            {**MVTEC, "supervise_mode": "noise", "noise_mode": "mvtec_gt"},
            "'mvtec_gt' without oe_limit took all defective images",
        ),
        ({"dataset": "custom", "net": "FCDD_CNN224"}, "names of classes, layout"),
    ],
)
def test_arguments_that_no_run_can_say_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        published_run(arguments(**changes))


def test_a_missing_argument_is_named() -> None:
    given = arguments()
    del given["acc_batches"]
    with pytest.raises(ValueError, match="'acc_batches' must be int, but is missing"):
        published_run(given)


def test_a_config_without_arguments_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"FCDD_CNN28()\n\n[1]", b'{"net": 1}', b"\xff\xfe{}", b"{" * 100_000):
        (tmp_path / "config.txt").write_bytes(content)
        with pytest.raises(ValueError, match="holds no arguments of the published code"):
            read_arguments(tmp_path / "config.txt")


def test_snapshot_and_config_of_different_runs_are_refused(tmp_path: Path) -> None:
    net = architecture(Net(name="FCDD_CNN28"))
    snapshot = write_snapshot(tmp_path, net)
    config = write_config(tmp_path, net, arguments())
    with pytest.raises(ValueError, match=r"holds FCDD_CNN28, but .*config.txt says FCDD_CNN28_W"):
        import_snapshot(snapshot, config=config)
    config = write_config(tmp_path, net, arguments(net="FCDD_CNN28", bias=False))
    with pytest.raises(ValueError, match="says FCDD_CNN28 with bias=False"):
        import_snapshot(snapshot, config=config)


def test_a_net_of_nobody_is_refused(tmp_path: Path) -> None:
    net = nn.Sequential(OrderedDict(conv1=nn.Conv2d(1, 3, 3)))
    snapshot = write_snapshot(tmp_path, net)
    config = write_config(tmp_path, net, arguments())
    with pytest.raises(
        ValueError, match="no net of the published code: 2 tensors, .*'conv1.weight'"
    ):
        import_snapshot(snapshot, config=config)


class _Harm:
    """Unpickled by plain pickle, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return shutil.copyfile, (__file__, self.path)


def _plain_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def _new_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def _legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("save", [torch.save, _legacy, _plain_pickle, _new_pickle])
def test_a_hostile_pickle_is_refused_in_one_line_and_not_run(
    tmp_path: Path, save: Callable[[object, Path], None]
) -> None:
    harm, path = tmp_path / "harm", tmp_path / "snapshot.pt"
    state = architecture(Net(name="FCDD_CNN28")).state_dict()
    save({"sched": _Harm(harm), "net": state, "opt": {}, "epoch": 1}, path)
    with pytest.raises(ValueError, match="snapshot.pt") as error:
        read_state(path)
    if save is not _new_pickle:  # of a version that PyTorch never writes, nor reads
        assert "was not read: it asks to run 'shutil.copyfile'" in str(error.value)
    assert "weights_only" not in str(error.value)  # PyTorch advises to read without care
    assert len(str(error.value).splitlines()) == 1
    assert not harm.exists()
    if save is _plain_pickle:  # the file does what it threatens, when it is let
        pickle.loads(path.read_bytes())
        assert harm.exists()


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    net = architecture(Net(name="FCDD_CNN28"))
    for zipped in (True, False):
        whole = write_snapshot(tmp_path, net, zipped=zipped).read_bytes()
        for length in (0, 1, 20, len(whole) // 2, len(whole) - 1):
            (tmp_path / "cut.pt").write_bytes(whole[:length])
            with pytest.raises(ValueError, match="no complete file of torch.save") as error:
                read_state(tmp_path / "cut.pt")
            assert len(str(error.value).splitlines()) == 1
    with pytest.raises(FileNotFoundError, match="absent.pt"):
        read_state(tmp_path / "absent.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "no snapshot of the published code, which holds net, opt, sched, epoch"),
        ({"net": {}}, "no snapshot of the published code"),
        ({"net": {}, "opt": 0, "sched": 0, "epoch": 0}, "'net' is no state dict"),
        ({"net": {"a": 1}, "opt": 0, "sched": 0, "epoch": 0}, "'net' is no state dict"),
        (
            {"net": {"a": torch.tensor([0.0, float("nan")])}, "opt": 0, "sched": 0, "epoch": 0},
            "'a' holds values that are not finite: its training diverged",
        ),
        (
            {"net": {"a": torch.eye(2).to_sparse()}, "opt": 0, "sched": 0, "epoch": 0},
            "'net' is no state dict",
        ),
    ],
)
def test_what_is_no_snapshot_is_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "snapshot.pt")
    with pytest.raises(ValueError, match=message):
        read_state(tmp_path / "snapshot.pt")


def test_constants_are_the_published_ones_or_those_given_for_custom_data(tmp_path: Path) -> None:
    net = architecture(Net(name="FCDD_CNN28"))
    snapshot = write_snapshot(tmp_path, net)
    config = write_config(tmp_path, net, arguments(net="FCDD_CNN28"))
    _, _, constants = import_snapshot(snapshot, config=config)
    assert (constants.mean, constants.std) == ((0.258895963,), (0.354219645,))  # dress

    net = architecture(Net(name="FCDD_CNN224"))
    snapshot = write_snapshot(tmp_path, net)
    given = arguments(**IMAGENET | {"dataset": "custom", "net": "FCDD_CNN224", "normal_class": 1})
    config = write_config(tmp_path, net, given)
    run, _, constants = import_snapshot(snapshot, config=config, custom=CUSTOM)
    assert run.data.classes == ("bolts", "nuts")
    assert constants == Normalisation((0.0,) * 3, (1.0,) * 3, (0.5, 0.4, 0.3), (0.2, 0.1, 0.3))
    wrong = Custom(CUSTOM.classes, CUSTOM.layout, False, mean=(0.5,), std=(0.2,))
    with pytest.raises(ValueError, match="must be 3 numbers each"):
        import_snapshot(snapshot, config=config, custom=wrong)


def test_the_command_writes_a_model_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = architecture(Net(name="FCDD_CNN28"))
    snapshot = write_snapshot(tmp_path, net)
    config = write_config(tmp_path, net, arguments(net="FCDD_CNN28"))
    out = tmp_path / "models" / "dress.safetensors"
    command(snapshot, config=config, out=out)
    printed = capsys.readouterr().out
    assert "FCDD_CNN28 (3,457 parameters), fcdd on fmnist, nominal class 3 (dress)" in printed
    run, again, _ = read_model(out)
    assert isinstance(run, Run)
    assert torch.equal(again(_images("28")), net.eval()(_images("28")))
    with pytest.raises(ValueError, match="lacks --classes, --layout, --mean and --std"):
        command(snapshot, config=config, out=out, classes="a,b")
    with pytest.raises(ValueError, match="--mean 'x' must be numbers"):
        command(
            snapshot,
            config=config,
            out=out,
            classes="a",
            layout="one_vs_rest",
            mean="x",
            std="1",
        )
    with pytest.raises(ValueError, match="must be given for 'custom'.* and only there"):
        command(
            snapshot,
            config=config,
            out=out,
            classes="a",
            layout="one_vs_rest",
            mean="1,1,1",
            std="1,1,1",
        )


def test_tensors_of_a_gpu_are_read_without_one(tmp_path: Path) -> None:
    # What torch.save writes for a tensor on the first GPU: the same, with its device as a name.
    buffer = io.BytesIO()
    net = architecture(Net(name="FCDD_CNN28"))
    content = {"net": net.state_dict(), "opt": {}, "sched": {}, "epoch": 1}
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    as_gpu = buffer.getvalue().replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert as_gpu != buffer.getvalue()
    (tmp_path / "snapshot.pt").write_bytes(as_gpu)
    state = read_state(tmp_path / "snapshot.pt")
    assert {tensor.device.type for tensor in state.values()} == {"cpu"}
    assert torch.equal(state["conv1.weight"], net.state_dict()["conv1.weight"])
