"""Output folders in an object store: written whole, read back, and what faults of the store do."""

import pickle
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3_server import Server

from fcdd.config import Run
from pipeline import compact, results, running
from pipeline.places import Stored, each, place_of, reached
from pipeline.status import status
from pipeline.stores import StoreError

pytestmark = pytest.mark.services
KEYS = [f"{number:016x}" for number in range(5)]


@pytest.fixture
def rows(make_row: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        make_row(key=key, image_auroc=number / 8, started_at="2026-01-01T00:00:00+00:00")
        for number, key in enumerate(KEYS)
    ]


@pytest.fixture
def filled(stored: Stored, rows: list[dict[str, Any]]) -> Stored:
    """A folder with a plan of five runs and their rows."""
    results.prepare(stored)
    for row in rows:
        results.write_row(stored, row)
    return stored


def test_all_files_of_a_run_come_back_as_they_were_written(
    stored: Stored, make_row: Callable[..., dict[str, Any]]
) -> None:
    results.prepare(stored)
    key, row = KEYS[0], make_row(key=KEYS[0])
    scores = {"id": [0, 1], "class": [3, 4], "label": [0, 1], "score": [0.25, 0.5]}
    pixels = {"lower": [0.0], "nominal": [5], "anomalous": [2], "overlap": [0.5]}
    epoch = {"epoch": 1, "train_loss": 0.5, "lr": 1e-3, "test_auroc": None}
    maps = np.arange(12, dtype=np.float16).reshape(3, 2, 2)
    assert results.read_audit(stored, key) is None
    results.write_scores(stored, key, scores)
    results.write_curve(stored, key, [epoch])
    results.write_pixels(stored, key, pixels)
    results.write_heatmaps(stored, key, heatmaps=maps)
    results.write_audit(stored, key, {"mass": 0.5}, images=maps)
    results.write_text(results.failure_path(stored, key), "Traceback\nValueError: \u00e9\n")
    results.write_row(stored, row)
    assert results.read_rows([stored]) == [row]
    assert results.read_row(stored, key) == row
    assert results.read_scores(stored, key).to_pydict() == scores
    assert results.read_pixels(stored, key).to_pydict() == pixels
    assert results.read_curve(stored, key) == [epoch]
    assert (results.read_heatmaps(stored, key)["heatmaps"] == maps).all()
    assert results.read_audit(stored, key) == {"mass": 0.5}
    assert (results.read_audit_examples(stored, key)["images"] == maps).all()
    assert results.failure_path(stored, key).read_text().endswith("\u00e9\n")
    assert results.failed_keys(stored) == set()  # it has a row


def test_plan_adds_up_and_compaction_and_its_undoing_lose_nothing(
    filled: Stored, rows: list[dict[str, Any]], digits_run: Run
) -> None:
    run: dict[str, Any] = digits_run.model_dump(mode="json")
    results.write_plan(filled, "one", {key: run for key in KEYS[:2]})
    results.write_plan(filled, "two", {key: run for key in KEYS[1:]})
    plan = results.read_plan(filled)
    assert {key: plan[key]["benchmarks"] for key in KEYS[:3]} == {
        KEYS[0]: ["one"],
        KEYS[1]: ["one", "two"],
        KEYS[2]: ["two"],
    }
    assert compact.compact(filled) == compact.Compaction(5, 5, 1)
    assert len(list((filled / "rows").glob("*.parquet"))) == 1
    assert results.read_rows([filled]) == rows
    assert results.read_row(filled, KEYS[3]) == rows[3]
    assert results.row_keys(filled) == set(KEYS)
    assert results.read_plan(filled) == plan
    assert compact.undo(filled) == compact.Compaction(5, 1, 5)
    assert results.read_rows([filled]) == rows
    assert results.read_plan(filled) == plan


def test_rows_of_some_keys_are_those_rows_compacted_or_not(
    filled: Stored, rows: list[dict[str, Any]], make_row: Callable[..., dict[str, Any]]
) -> None:
    assert results.read_table(filled, keys=KEYS[1:3]).to_pylist() == rows[1:3]
    compact.compact(filled)
    later = make_row(key="f" * 16)
    results.write_row(filled, later)
    found = results.read_table(filled, ["key", "image_auroc"], keys={KEYS[4], "f" * 16})
    assert found.to_pylist() == [
        {"key": KEYS[4], "image_auroc": 0.5},
        {"key": "f" * 16, "image_auroc": later["image_auroc"]},
    ]


def test_row_is_one_request_and_its_text_names_the_place(
    stored: Stored, server: Server, make_row: Callable[..., dict[str, Any]]
) -> None:
    results.prepare(stored)
    server.requests.clear()
    results.write_row(stored, make_row(key=KEYS[0]))
    bucket = stored.uri.split("/")[2]
    assert server.requests == [f"PUT /{bucket}/sweeps/one/rows/{KEYS[0]}.parquet"]
    path = stored / "rows" / f"{KEYS[0]}.parquet"
    assert str(path) == f"s3://{bucket}/sweeps/one/rows/{KEYS[0]}.parquet?{server.query}"
    assert place_of(str(path)) == path
    assert (path.name, path.stem, path.parent) == (
        f"{KEYS[0]}.parquet",
        KEYS[0],
        stored / "rows",
    )


def test_place_travels_as_text_without_its_client(stored: Stored, server: Server) -> None:
    results.write_text(stored / "word", "seen")
    sent = pickle.dumps(stored)
    assert len(sent) < 400
    assert (pickle.loads(sent) / "word").read_text() == "seen"


def test_what_is_there_and_what_is_not(stored: Stored) -> None:
    (stored / "rows" / "k.parquet").write_bytes(b"1")
    assert [(stored / name).is_dir() for name in ("rows", "rows/k.parquet", "scores")] == [
        *(True, False, False)
    ]
    assert [(stored / name).is_file() for name in ("rows", "rows/k.parquet", "scores")] == [
        *(False, True, False)
    ]
    assert list((stored / "nowhere").glob("*")) == []
    assert [one.name for one in (stored / "rows").glob("*.parquet")] == ["k.parquet"]
    assert list((stored / "rows").glob("*.json")) == []
    with pytest.raises(FileNotFoundError):
        (stored / "rows" / "other.parquet").read_bytes()
    with pytest.raises(FileNotFoundError):
        (stored / "rows" / "other.parquet").unlink()
    (stored / "rows" / "other.parquet").unlink(missing_ok=True)
    (stored / "rows").remove_all()
    assert not (stored / "rows" / "k.parquet").exists()
    (stored / "rows").remove_all()


def test_503_is_tried_again_until_the_row_stands(
    stored: Stored, server: Server, make_row: Callable[..., dict[str, Any]]
) -> None:
    results.prepare(stored)
    server.slow_down("PUT", times=4)
    row = make_row(key=KEYS[0])
    results.write_row(stored, row)
    assert results.read_rows([stored]) == [row]
    assert len(server.seen(f"PUT /{stored.uri[5:]}/rows/{KEYS[0]}.parquet")) == 5


def test_row_that_is_never_taken_fails_by_name_and_leaves_nothing(
    stored: Stored, server: Server, make_row: Callable[..., dict[str, Any]]
) -> None:
    results.prepare(stored)
    server.slow_down("PUT", times=1000)
    told = f"rows/{KEYS[0]}.parquet?{server.query}: SLOW_DOWN"
    with pytest.raises(StoreError, match=re.escape(told)):
        results.write_row(stored.in_haste(), make_row(key=KEYS[0]))
    server.start_anew()
    assert results.row_keys(stored) == set()


def test_large_object_of_which_a_part_is_refused_is_not_there_by_half(
    stored: Stored, server: Server
) -> None:
    whole, part = np.random.default_rng(0).bytes(12_000_000), stored / "checkpoints" / "large"
    part.write_bytes(whole)
    assert server.seen("partNumber=2")
    server.slow_down("partNumber=2", times=1000)
    with pytest.raises(StoreError):
        (stored / "half").in_haste().write_bytes(whole)
    with pytest.raises(StoreError):
        part.in_haste().write_bytes(whole[::-1])
    assert not (stored / "half").exists()
    assert part.read_bytes() == whole


def test_slow_answers_are_waited_for(stored: Stored, server: Server) -> None:
    server.delay("PUT", times=1, seconds=6)
    started = time.monotonic()
    (stored / "slow").write_bytes(b"taken")
    assert time.monotonic() - started > 6
    assert (stored / "slow").read_bytes() == b"taken"
    assert len(server.seen("/slow")) == 3  # PUT, and HEAD and GET of reading: nothing twice


def test_server_that_comes_back_is_found_again(stored: Stored, server: Server) -> None:
    (stored / "before").write_bytes(b"1")
    server.stop()
    started = time.monotonic()
    with pytest.raises(StoreError, match="it does not answer .*Could not connect"):
        (stored / "during").in_haste().write_bytes(b"2")
    assert time.monotonic() - started < 20
    server.start()
    (stored / "after").write_bytes(b"3")
    assert (stored / "before").read_bytes() == b"1"
    assert not (stored / "during").exists()


def test_reading_tells_a_store_that_is_away_from_a_damaged_file(
    filled: Stored, server: Server
) -> None:
    (filled / "rows" / f"{KEYS[1]}.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(ValueError, match=f"{KEYS[1]}.parquet.* cannot be read .*delete it"):
        results.read_rows([filled])
    server.slow_down("GET", times=1000)
    with pytest.raises(StoreError) as told:
        results.read_rows([filled.in_haste()])
    assert "delete" not in str(told.value)


def test_heartbeats_and_status_of_a_folder_in_a_store(filled: Stored, digits_run: Run) -> None:
    lost, failed = "e" * 16, "d" * 16
    run: dict[str, Any] = digits_run.model_dump(mode="json")
    results.write_plan(filled, "one", {key: run for key in [*KEYS, lost, failed]})
    now = datetime.now(UTC)
    beat = {"host": "node7", "pid": 5, "epoch": 1, "epochs": 2}
    times = {"started_at": now.isoformat(), "beat_at": (now - timedelta(seconds=90)).isoformat()}
    running.write(filled, lost, beat | times)
    results.write_text(results.failure_path(filled, failed), "Traceback\nValueError: why\n")
    found = status(filled, now=now)
    assert [found.count(state) for state in ("done", "stale", "failed")] == [5, 1, 1]
    assert [(one.host, one.epoch) for one in found.running] == [("node7", 1)]
    assert [one.reason for one in found.failed] == ["ValueError: why"]
    results.write_text(running.overtime_path(filled, lost), "in line 7")
    assert running.overtime(filled, lost) == "in line 7"
    running.end(filled, lost)
    assert running.read(filled) == {}
    assert running.overtime(filled, lost) == ""


def test_checkpoints_of_runs_with_a_row_are_removed_and_no_others(stored: Stored) -> None:
    for key in KEYS[:2]:
        (results.checkpoint_path(stored, key) / "checkpoint.safetensors").write_bytes(b"1")
    results.remove_checkpoints(stored, {KEYS[0]})
    assert [one.name for one in (stored / "checkpoints").glob("*")] == [KEYS[1]]


def test_endpoint_of_the_environment_serves_a_uri_without_one(
    server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
    found = reached(f"s3://{bucket}//of//environment/")
    assert str(found) == f"s3://{bucket}/of/environment"
    results.write_text(found / "word", "seen")
    assert server.seen(f"PUT /{bucket}/of/environment/word")


def test_file_systems_of_fsspec_serve_too(make_row: Callable[..., dict[str, Any]]) -> None:
    place = reached("memory://results/one")
    results.prepare(place)
    results.write_row(place, make_row(key=KEYS[0]))
    assert results.read_rows([place]) == [make_row(key=KEYS[0])]
    assert results.row_keys(place) == {KEYS[0]}


def test_paths_stay_paths_and_are_asked_one_after_the_other(tmp_path: Path) -> None:
    assert place_of(tmp_path) == place_of(str(tmp_path)) == place_of(tmp_path.as_uri()) == tmp_path
    assert each(lambda path, more: path.name + more, [tmp_path / "a", tmp_path / "b"], "xy") == [
        *("ax", "by")
    ]


def test_local_parquet_files_are_those_that_pyarrow_writes(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]]
) -> None:
    results.prepare(tmp_path)
    results.write_row(tmp_path, make_row(key=KEYS[0]))
    table = pa.Table.from_pylist([make_row(key=KEYS[0])], schema=results.SCHEMA)
    pq.write_table(table, tmp_path / "plain.parquet")
    path = tmp_path / "rows" / f"{KEYS[0]}.parquet"
    assert path.read_bytes() == (tmp_path / "plain.parquet").read_bytes()
    assert path.stat().st_mode & 0o777 == 0o644
