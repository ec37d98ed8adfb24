from pathlib import Path

from pipeline import running


def test_heartbeat_is_there_while_the_run_is_and_replaced_by_the_next(tmp_path: Path) -> None:
    assert running.read(tmp_path) == {}
    running.write(tmp_path, "a", {"pid": 1, "epoch": 0})
    running.write(tmp_path, "a", {"pid": 1, "epoch": 4})
    running.write(tmp_path, "b", {"pid": 2, "epoch": 0})
    assert running.read(tmp_path) == {"a": {"pid": 1, "epoch": 4}, "b": {"pid": 2, "epoch": 0}}
    running.end(tmp_path, "a")
    running.end(tmp_path, "a")
    assert running.read(tmp_path) == {"b": {"pid": 2, "epoch": 0}}
    assert sorted(path.name for path in (tmp_path / "running").iterdir()) == ["b.json"]
