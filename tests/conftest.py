"""Shared runs and the isolation of tests from the user's home and environment."""

import os
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from fcdd.config import Run, change, flatten, parse
from pipeline import results


def pytest_configure() -> None:
    from jobs.cli import SWITCHES

    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test writes Ray's token into the home folder or reads a user's Ray address."""
    token = tmp_path_factory.getbasetemp() / "ray_auth_token"
    if not token.exists():
        token.write_text(secrets.token_hex(32))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def digits_run() -> Run:
    """A short run on digits."""
    return parse(
        {
            "data": {"name": "digits", "normal_class": 3, "preprocessing": "lcn"},
            "outliers": {"source": "photographs"},
            "supervision": {"mode": "outlier_exposure"},
            "net": {"name": "FCDD_CNN28"},
            "objective": {"name": "fcdd"},
            "training": {
                "epochs": 2,
                "batch_size": 32,
                "optimizer": "adam",
                "lr": 1e-3,
                "weight_decay": 1e-6,
                "schedule": "exponential",
                "lr_factor": 0.9,
            },
            "heatmaps": {"gauss_std": 1.2},
            "seed": 7,
        }
    )


@pytest.fixture
def make_row(digits_run: Run) -> Callable[..., dict[str, Any]]:
    """Makes complete rows of the short run; keyword `run_` changes dotted Run fields."""

    def make(*, run_: dict[str, object] | None = None, **columns: Any) -> dict[str, Any]:
        run = change(digits_run, run_ or {})
        row: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in flatten(run).items()
        }
        for field in results.SCHEMA:
            if field.name not in row:
                kind = str(field.type)
                row[field.name] = None if field.nullable else {"string": "x"}.get(kind, 1)
                if kind == "double" and not field.nullable:
                    row[field.name] = 0.5
        row |= {"key": "a" * 16, "schema_version": results.SCHEMA_VERSION, "dirty": False}
        return row | {"class_name": run.data.class_name} | columns

    return make
