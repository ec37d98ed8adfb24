"""A real `mlflow server` on a real PostgreSQL, which lets nobody in without a password."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as Child

from pipeline import results
from pipeline.tracking.store import sync

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PASSWORD = f"canary-{secrets.token_hex(16)}"
TWO = ("quickstart", "--only", "data.normal_class=0", "--only", "seed=0,1", "--device", "cpu")


@pytest.fixture(scope="module")
def server(
    mlflow_server: Callable[..., Any], postgres: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    folder = tmp_path_factory.mktemp("auth")
    (folder / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
        f"database_uri = sqlite:///{folder / 'auth.db'}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "grant_default_workspace_access = false\n"
    )
    one = mlflow_server(
        store=postgres.create("mlflow"),
        arguments=("--app-name", "basic-auth"),
        environment={
            "PGPASSWORD": postgres.password,
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        },
    )
    one.start()
    return one


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)


def fcdd(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "jobs", *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=ROOT,
        env=os.environ | environment,
    )


def runs(uri: str, role: str) -> list[Child]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("quickstart")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.role = '{role}'"))


def statuses(uri: str) -> list[tuple[str, str]]:
    return sorted((one.data.tags["key"], one.info.status) for one in runs(uri, "run"))


@pytest.fixture(scope="module")
def swept(server: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a sweep of two runs under the server's eyes, and what it said."""
    out = tmp_path_factory.mktemp("swept") / "out"
    done = fcdd(
        *("run", *TWO, "--out", str(out), "--tracking-uri", server.uri),
        MLFLOW_TRACKING_USERNAME="admin",
        MLFLOW_TRACKING_PASSWORD=PASSWORD,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout + done.stderr


def test_sweep_is_seen_live_and_its_metrics_are_those_of_the_rows(
    swept: tuple[Path, str], server: Any
) -> None:
    out, output = swept
    assert "2 of 2 rows" in output
    assert "tracking lost" not in output
    rows = {row["key"]: row for row in results.read_rows([out])}
    children = {one.data.tags["key"]: one for one in runs(server.uri, "run")}
    assert len(rows) == 2
    assert set(children) == set(rows)
    (parent,) = runs(server.uri, "benchmark")
    assert parent.info.status == "FINISHED"
    for key, row in rows.items():
        child = children[key]
        assert child.info.status == "FINISHED"
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.params["training.lr"] == str(row["training.lr"])
        assert child.data.params["seed"] == str(row["seed"])
        for name in ("image_auroc", "image_ap", "train_seconds"):
            assert child.data.metrics[name] == pytest.approx(row[name], rel=1e-12)
        history = MlflowClient(server.uri).get_metric_history(child.info.run_id, "train_loss")
        logged = {one.step: one.value for one in history}
        assert logged == {one["epoch"]: one["train_loss"] for one in results.read_curve(out, key)}


def test_password_is_in_no_file_no_output_and_no_tag(swept: tuple[Path, str], server: Any) -> None:
    out, output = swept
    assert PASSWORD not in output
    files = [path for path in out.rglob("*") if path.is_file()]
    assert "plan.json" in {path.name for path in files}
    for path in files:
        assert PASSWORD.encode() not in path.read_bytes(), path
    for role in ("run", "benchmark"):
        for one in runs(server.uri, role):
            assert PASSWORD not in str(one.to_dictionary())


def test_sync_adds_nothing_twice_from_the_folder_or_a_copy(
    swept: tuple[Path, str], server: Any, tmp_path: Path
) -> None:
    out, _ = swept
    before = statuses(server.uri)
    assert [status for _, status in before] == ["FINISHED", "FINISHED"]
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    for folder in (out, copy):
        done = fcdd("mlflow", "sync", str(folder), "--tracking-uri", server.uri)
        assert (done.returncode, done.stdout) == (0, "0 runs added\n"), done.stderr
    assert statuses(server.uri) == before


def test_sync_closes_orphans_of_the_folder_and_leaves_those_of_others_alone(
    swept: tuple[Path, str], server: Any
) -> None:
    out, _ = swept
    before = statuses(server.uri)
    lost, foreign = before[0][0], "f" * 16
    client = MlflowClient(server.uri)
    (complete,) = [one for one in runs(server.uri, "run") if one.data.tags["key"] == lost]
    client.delete_run(complete.info.run_id)
    orphans = {}
    for key in (lost, foreign):  # as a driver that was killed, and another one at work, leave them
        made = client.create_run(complete.info.experiment_id, tags={"role": "run", "key": key})
        orphans[key] = made.info.run_id
    try:
        assert sync(out, server.uri) == 1
        assert sync(out, server.uri) == 0
        assert statuses(server.uri) == sorted([*before, (foreign, "RUNNING")])
        ended = client.get_run(orphans[lost]).info
        assert (ended.status, ended.lifecycle_stage) == ("KILLED", "deleted")
    finally:
        client.delete_run(orphans[foreign])


def test_empty_postgresql_without_a_server_is_completed_from_a_copy(
    swept: tuple[Path, str], postgres: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = swept
    shutil.copytree(out, tmp_path / "copy")
    empty = postgres.create("empty")
    done = fcdd(
        *("mlflow", "sync", str(tmp_path / "copy"), "--tracking-uri", empty),
        PGPASSWORD=postgres.password,
    )
    assert (done.returncode, done.stdout) == (0, "2 runs added\n"), done.stderr
    assert postgres.password not in done.stdout + done.stderr
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    assert sync(out, empty) == 0
    assert statuses(empty) == [(key, "FINISHED") for key in sorted(results.row_keys(out))]
    assert [one.info.status for one in runs(empty, "benchmark")] == ["FINISHED"]


@pytest.mark.parametrize("wrong", ["wrong-canary", None])
def test_wrong_or_missing_password_is_one_line_before_the_first_run(
    wrong: str | None, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    if wrong is None:
        monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
        monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", wrong)
    done = fcdd("run", *TWO, "--out", str(out), "--tracking-uri", server.uri)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.splitlines() == [
        f"error: tracking store '{server.uri}' does not let this user in (UNAUTHENTICATED); set "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a user who may write there, or "
        "go without with --no-tracking"
    ]
    for secret in (PASSWORD, *([wrong] if wrong else [])):
        assert secret not in done.stdout + done.stderr
    assert results.row_keys(out) == set()
    assert list((out / "failures").iterdir()) == []


def test_wrong_password_of_postgresql_is_one_line_without_it(
    swept: tuple[Path, str], postgres: Any
) -> None:
    out, _ = swept
    uri = postgres.create("closed")
    done = fcdd("mlflow", "sync", str(out), "--tracking-uri", uri, PGPASSWORD="wrong-canary")
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: tracking store '{uri}' does not answer (")
    assert 'password authentication failed for user "fcdd"' in line
    assert "wrong-canary" not in done.stdout + done.stderr
