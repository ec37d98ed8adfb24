"""One driver per output folder, in a store that cannot refuse to make an object twice."""

import json
import os
import re
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from s3_server import Server

from pipeline import claims, lock
from pipeline.claims import alone
from pipeline.lock import only_driver, read_driver
from pipeline.places import Stored
from pipeline.stores import StoreError

pytestmark = pytest.mark.services
STALE = timedelta(seconds=60)


def change(out: Stored, **fields: object) -> None:
    path = out / "driver.json"
    path.write_bytes(json.dumps(json.loads(path.read_bytes()) | fields).encode())


def left(out: Stored) -> list[str]:
    """What a lock has left behind."""
    return [place.name for folder in (out, out / ".claims") for place in folder.glob("*.*[nm]")]


def test_second_driver_is_told_who_is_at_work(stored: Stored) -> None:
    with only_driver(stored):
        found = read_driver(stored)
        assert found is not None
        assert found["pid"] == os.getpid()
        told = f"another `fcdd run` is at work in {stored}: process {os.getpid()} on "
        with pytest.raises(ValueError, match=re.escape(told)), only_driver(stored):
            pass
        assert read_driver(stored) == found
    assert read_driver(stored) is None
    assert left(stored) == []


def test_driver_elsewhere_is_trusted_until_its_heartbeat_is_old(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with only_driver(stored):
        change(stored, place="elsewhere", host="node7", pid=1, token="another")
    with pytest.raises(ValueError, match="process 1 on node7 "), only_driver(stored):
        pass
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.5)
    time.sleep(2)  # the store's clock tells whole seconds
    with only_driver(stored):
        assert (read_driver(stored) or {})["pid"] == os.getpid()
    assert caplog.messages == [
        "the driver before (process 1 on node7) is gone; this one takes over"
    ]


def test_of_many_at_once_one_wins(stored: Stored) -> None:
    outcomes: list[str] = []
    ready, done = threading.Barrier(8), threading.Barrier(8)

    def compete() -> None:
        ready.wait()
        try:
            with only_driver(stored):
                outcomes.append("won")
                done.wait()
        except ValueError as error:
            outcomes.append("told" if "fcdd run` " in str(error) else str(error))
            done.wait()

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["told"] * 7 + ["won"]
    assert left(stored) == []


def test_nobody_is_alone_beside_another_however_requests_interleave(
    stored: Stored, server: Server
) -> None:
    """Slow answers to every third request keep contenders between their steps."""
    within, most, entered = 0, 0, 0
    guard = threading.Lock()
    for name in ("PUT", "HEAD", "list-type"):
        server.delay(name, times=12, seconds=0.3)

    def compete() -> None:
        nonlocal within, most, entered
        for _ in range(2):
            try:
                with alone(stored, stale=STALE):
                    with guard:
                        within, entered = within + 1, entered + 1
                        most = max(most, within)
                    time.sleep(0.05)
                    with guard:
                        within -= 1
            except ValueError as error:
                assert "is changing hands" in str(error)

    threads = [threading.Thread(target=compete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert entered > 0
    assert left(stored) == []


def test_claim_of_one_who_died_within_is_removed_when_it_is_old(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stored / ".claims" / "dead.claim").write_bytes(b"")
    monkeypatch.setattr(claims, "_TRIES", 2)
    with (
        pytest.raises(ValueError, match="is changing hands"),
        alone(stored, stale=timedelta(minutes=1)),
    ):
        pass
    time.sleep(2)  # the store's clock tells whole seconds
    with alone(stored, stale=timedelta(seconds=0.5)):
        assert [claim.name for claim in (stored / ".claims").glob("dead*")] == []


def test_driver_that_was_taken_over_learns_of_it_and_leaves_the_lock(stored: Stored) -> None:
    with only_driver(stored, beat_seconds=0.05) as taken:
        assert not taken.wait(0.5)
        for _ in range(50):  # as its heartbeats do: the first may cross one of ours
            lock.write_text(stored / "driver.json", json.dumps({"token": "another"}))
            if taken.wait(0.2):
                break
        assert taken.is_set()
    assert read_driver(stored) == {"token": "another"}


def test_store_that_is_away_is_no_sign_of_another_driver(stored: Stored, server: Server) -> None:
    with only_driver(stored, beat_seconds=0.05) as taken:
        server.stop()
        with pytest.raises(StoreError):
            read_driver(stored.in_haste())
        assert not taken.wait(3)
        server.start()
        before = beat_of(stored)
        deadline = time.monotonic() + 60
        while beat_of(stored) == before and time.monotonic() < deadline:
            time.sleep(0.2)
        assert beat_of(stored) != before  # it beats again
        assert not taken.is_set()
    assert read_driver(stored) is None


def beat_of(out: Stored) -> Any:
    return (read_driver(out) or {}).get("beat_at")
