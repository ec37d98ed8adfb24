"""No secret in rows, MLflow, error texts or output."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.passwords import refuse_password
from pipeline import results

CANARY = "canary-5f1c9e"
SPEC = """
from jobs.specs.quickstart import base
from fcdd.config import change
from pipeline.benchmark import Benchmark
short = change(base, {"training.epochs": 1})
broken = change(short, {"training.optimizer": "sgd", "training.lr": 1e30})
benchmark = Benchmark("mine", (short, broken))
"""


def fcdd(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | environment,
    )


@pytest.mark.services
def test_secrets_of_the_environment_are_written_nowhere(tmp_path: Path) -> None:
    out, spec = tmp_path / "out", tmp_path / "mine.py"
    spec.write_text(SPEC)
    token = tmp_path / "token"
    token.write_text(CANARY * 4)
    done = fcdd(
        *("run", str(spec), "--out", str(out), "--device", "cpu"),
        RAY_AUTH_TOKEN_PATH=str(token),
        MLFLOW_TRACKING_PASSWORD=CANARY,
        AWS_SECRET_ACCESS_KEY=CANARY,
        PGPASSWORD=CANARY,
    )
    assert done.returncode == 1, done.stderr
    assert len(results.row_keys(out)) == len(results.failed_keys(out)) == 1
    files = [path for path in out.rglob("*") if path.is_file()]
    assert out / "mlflow.db" in files
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["run", "mlflow sync"])
def test_password_in_a_tracking_uri_is_refused_and_not_repeated(
    tmp_path: Path, command: str
) -> None:
    results.prepare(tmp_path)
    where = ("quickstart", "--out", str(tmp_path)) if command == "run" else (str(tmp_path),)
    done = fcdd(*command.split(), *where, "--tracking-uri", f"http://user:{CANARY}@localhost:1")
    assert done.returncode == 2
    assert "--tracking-uri holds a password" in done.stderr
    assert "MLFLOW_TRACKING_PASSWORD" in done.stderr
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "uri", [None, "sqlite:////tmp/a:b@c.db", "http://host:5000", "postgresql://user@host/db"]
)
def test_addresses_without_a_password_are_taken(uri: str | None) -> None:
    refuse_password(uri, option="--tracking-uri")
