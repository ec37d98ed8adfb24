"""Joining Ray, and losing it."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import AuthenticationError

_KNOCK_SECONDS = 5.0
_LOOK_SECONDS = 2.0  # between two looks after the head
_LOST_SECONDS = 20.0  # a head may start again; Ray itself aborts this process after 60 s


class HeadLost(Exception):
    """The head of the cluster is gone: nothing more can be learnt of the runs, or told to them."""


@contextmanager
def joined(address: str | None) -> Iterator[None]:
    """A Ray of this process's own within the block, or the one at `address`: auto or host:port.

    Raises ValueError where nothing answers there, or the token is missing or another one. A Ray
    that is lost within the block (HeadLost) is not said goodbye to.
    """
    logging.getLogger("ray._private.worker").setLevel(logging.ERROR)  # Tune runs in a thread
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:  # "local": never a cluster that happens to run on this machine
        ray.init(address="local", include_dashboard=False, **quiet)
    else:
        try:
            _knock(address)
            ray.init(address=address, **quiet)
        except (AuthenticationError, OSError, RuntimeError, ValueError) as error:
            line = next((one.strip() for one in str(error).splitlines() if one.strip()), "")
            raise ValueError(
                f"--address {address!r}: no cluster can be joined ({line or repr(error)}); start "
                "one with `ray start --head`, run this on one of its nodes, and have its "
                "~/.ray/auth_token there"
            ) from error
    # What Ray's own look after the dashboard says while we leave helps nobody.
    logging.getLogger("ray._private.services").setLevel(logging.CRITICAL)
    try:
        yield
    except HeadLost:
        raise
    except BaseException:
        ray.shutdown()
        raise
    ray.shutdown()


@contextmanager
def head_watched(tell: Callable[[HeadLost], None]) -> Iterator[None]:
    """Tells of a head that is lost within the block. Ray says nothing for a minute, then it aborts
    the process."""
    address, done = ray.get_runtime_context().gcs_address, threading.Event()

    def watch() -> None:
        answered = time.monotonic()
        while not done.wait(_LOOK_SECONDS):
            try:
                _knock(address)
                answered = time.monotonic()
            except OSError as error:
                if time.monotonic() - answered > _LOST_SECONDS:
                    tell(
                        HeadLost(
                            f"Ray's head at {address} is gone ({error}); rows and checkpoints are "
                            "kept: the same command goes on, on a cluster once a head is started "
                            "again"
                        )
                    )
                    return

    threading.Thread(target=watch, name="head watch", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _knock(address: str) -> None:
    """Raises OSError where nothing listens at host:port: Ray itself tries for more than 10 minutes
    (measured)."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS):
            pass


def has_gpus() -> bool:
    """Whether a node of the joined Ray has a GPU now."""
    return ray.cluster_resources().get("GPU", 0) > 0


def whole_node(device: str) -> dict[str, float]:
    """The CPUs, and on "cuda" the GPUs, of the largest node of the joined Ray: a run that has them
    is alone on it."""
    names = ("GPU", "CPU") if device == "cuda" else ("CPU",)
    nodes = [tuple(node["Resources"].get(name, 0.0) for name in names) for node in alive()]
    return dict(zip(names, max(nodes), strict=True))


def alive() -> list[dict[str, Any]]:
    """The nodes of the joined Ray that are up, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]
