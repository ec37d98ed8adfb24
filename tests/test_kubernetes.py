"""docs/rayjob.yaml: what can be seen without a cluster."""

import os
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from jobs.cli import app

ROOT = Path(__file__).parent.parent


def job() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docs" / "rayjob.yaml").read_text())


def test_manifest_fits_the_schema_of_its_kind() -> None:
    path = os.environ.get("FCDD_RAYJOB_CRD")
    if not path:
        pytest.skip("needs FCDD_RAYJOB_CRD: the file of KubeRay's ray.io_rayjobs.yaml")
    crd = yaml.safe_load(Path(path).read_text())
    (version,) = (one for one in crd["spec"]["versions"] if one["name"] == "v1")
    jsonschema.validate(job(), version["schema"]["openAPIV3Schema"])


def test_cluster_has_the_pinned_ray_a_token_and_a_head_without_runs() -> None:
    cluster = job()["spec"]["rayClusterSpec"]
    pinned = re.search(r"^ray==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert cluster["rayVersion"] == pinned[1]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] == 0 < workers["maxReplicas"]


def test_every_pod_sees_the_folder_that_results_go_to() -> None:
    cluster = job()["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert container["volumeMounts"] == [{"name": "shared", "mountPath": "/shared"}]
        assert [one["name"] for one in group["template"]["spec"]["volumes"]] == ["shared"]


def test_entry_point_is_a_command_of_ours() -> None:
    python, dash, module, *arguments = shlex.split(job()["spec"]["entrypoint"])
    assert (python, dash, module) == ("python", "-m", "jobs")
    assert arguments[arguments.index("--out") + 1].startswith("/shared/")
    done = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert done.exit_code == 0, done.output
    assert re.search(r"cifar10: \d+ runs; nothing was started", done.output)
