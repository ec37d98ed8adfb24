"""ray_cluster.yaml and docs/ray_local.yaml against the schema and the checks of Ray."""

import json
import subprocess
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from jobs.run import run_arguments

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "ray_cluster.yaml").read_text()
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


def cluster() -> dict[str, Any]:
    return yaml.safe_load(TEXT)


def variant(title: str) -> dict[str, Any]:
    """The cluster with the commented block under "# ---- `title`" in place."""
    block = TEXT.split(f"# ---- {title}")[1].split("# ----")[0]
    lines = [line[1:] for line in block.splitlines() if line.startswith("#     ")]
    return cluster() | yaml.safe_load(textwrap.dedent("\n".join(lines)))


def local() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docs/ray_local.yaml").read_text())


@pytest.mark.parametrize(
    "config",
    [cluster(), variant("Google Cloud"), local()],
    ids=lambda config: config["provider"]["type"],
)
def test_launcher_accepts_the_file_and_its_variants(config: dict[str, Any]) -> None:
    schema = Path(ray.autoscaler.__file__).parent / "ray-schema.json"
    jsonschema.validate(config, json.loads(schema.read_text()))
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["max_workers"] == config["max_workers"]
    workers = [kind for kind in prepared["available_node_types"].values() if kind["max_workers"]]
    assert len(workers) == 1
    with pytest.raises(jsonschema.ValidationError, match="Additional properties"):
        validate_config(prepared | {"min_workers": 1})


def test_workers_are_spot_machines_that_come_and_go_and_the_head_trains_nothing() -> None:
    config = cluster()
    kinds = config["available_node_types"]
    worker = kinds["gpu"]
    assert kinds["head"]["resources"] == {"CPU": 0}
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert worker["min_workers"] == 0
    assert worker["max_workers"] == config["max_workers"]
    assert worker["node_config"]["ImageId"] == kinds["head"]["node_config"]["ImageId"]
    assert 0 < config["idle_timeout_minutes"] <= 10


@pytest.mark.parametrize("config", [cluster(), local()], ids=["aws", "local"])
def test_only_ssh_is_open_and_every_ray_command_asks_for_the_token(config: dict[str, Any]) -> None:
    assert "security_group" not in config["provider"]  # the launcher's own opens port 22 only
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    starts = [
        command
        for part in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in config[part]
        if "ray start" in command
    ]
    assert len(starts) == 2
    for command in starts:
        assert command.startswith("export RAY_AUTH_MODE=token")
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert any("export RAY_AUTH_MODE=token" in one for one in config["initialization_commands"])
    assert "disabled" not in str(config)


def test_own_machines_get_what_those_of_a_cloud_get() -> None:
    cloud, own = cluster(), local()
    assert own["max_workers"] == len(own["provider"]["worker_ips"])
    for name in ("file_mounts", "rsync_exclude", "initialization_commands"):
        assert own[name] == cloud[name]
    assert set(own["setup_commands"]) < set(cloud["setup_commands"])
    assert "sudo" not in str(own)


def test_all_that_the_installation_reads_is_mounted_and_nothing_big() -> None:
    mounts = {
        remote: local
        for remote, local in cluster()["file_mounts"].items()
        if local != "~/.ray/auth_token"
    }
    for remote, local in mounts.items():
        assert remote == f"~/fcdd-code/{local}"  # a name that no package can have
        assert (ROOT / local).exists(), local
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    needed = {"pyproject.toml", "constraints.txt", project["project"]["readme"]}
    needed |= {name.removesuffix("*") for name in packages}
    needed |= set(project["project"]["license-files"])
    assert set(mounts.values()) == needed
    assert "-c constraints.txt -e '.[run]'" in " ".join(cluster()["setup_commands"])


@pytest.mark.parametrize("config", [cluster(), local()], ids=["aws", "local"])
def test_commands_are_valid_shell(config: dict[str, Any]) -> None:
    for part in COMMANDS:
        for command in config.get(part, []):
            done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
            assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.mark.parametrize(
    ("given", "address", "made"),
    [
        (["--", "q", "--out", "/o"], None, ["run", "q", "--out", "/o", "--address", "auto"]),
        (["q", "--address", "h:1"], None, ["run", "q", "--address", "h:1"]),
        (["q", "--address=h:1"], None, ["run", "q", "--address=h:1"]),
        (["q"], "h:1", ["run", "q"]),
    ],
)
def test_script_of_ray_submit_runs_on_the_cluster_of_its_node(
    given: list[str], address: str | None, made: list[str]
) -> None:
    assert run_arguments(given, address=address) == made
