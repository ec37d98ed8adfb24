"""Joining Ray, and what must hold on every node before the first run."""

import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError, GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_NODE_SECONDS = 120.0  # a node has to answer within; the first worker on it has to start
_KNOCK_SECONDS = 5.0
_LOOK_SECONDS = 2.0  # between two looks after the head
_LOST_SECONDS = 20.0  # a head may start again; Ray itself aborts this process after 60 s
_COMPARED = ("fcdd", "torch", "numpy")


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
    nodes = [tuple(node["Resources"].get(name, 0.0) for name in names) for node in _alive()]
    return dict(zip(names, max(nodes), strict=True))


def check_nodes(out: Path, *, needed: Sequence[Path] = ()) -> None:
    """Raises ValueError naming the nodes that do not have this code and these versions, or do not
    see the output folder `out` or the files of `needed`.

    Nodes that join later are not seen by it.
    """
    probe = out / f".probe-{secrets.token_hex(8)}"
    probe.write_text("written by the driver\n")
    paths = [str(probe), *(str(path) for path in needed)]
    look = _look()
    here = look(_COMPARED, paths)
    try:
        nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in _alive()}
        asked = {node: _ask(look, node, paths) for node in nodes}
        faults = []
        for node, answer in asked.items():
            try:
                there: Any = ray.get(answer, timeout=_NODE_SECONDS)
            except (RayError, GetTimeoutError) as error:
                line = next((one for one in reversed(str(error).splitlines()) if one.strip()), "")
                faults.append(f"{nodes[node]} does not answer ({line.strip()})")
                continue
            faults += [f"{nodes[node]} {fault}" for fault in _faults(here, there, out=str(probe))]
    finally:
        probe.unlink(missing_ok=True)
    if faults:
        raise ValueError(
            f"not every node can do the runs: {'; '.join(faults)}; install the same code and "
            "versions on every node, and let all see the same folders under the same path"
        )


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _ask(look: Callable[..., Any], node: str, paths: list[str]) -> Any:
    place = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    remote: Any = ray.remote(look)
    chosen = remote.options(num_cpus=0, max_retries=0, scheduling_strategy=place)
    return chosen.remote(_COMPARED, paths)


def _look() -> Callable[[Sequence[str], Sequence[str]], dict[str, Any]]:
    """A function that travels whole, for a node that has no package to import it from."""

    def look(distributions: Sequence[str], paths: Sequence[str]) -> dict[str, Any]:
        import hashlib
        from importlib.metadata import PackageNotFoundError, version
        from importlib.util import find_spec
        from pathlib import Path

        versions: dict[str, str | None] = {}
        for name in distributions:
            try:
                versions[name] = version(name)
            except PackageNotFoundError:
                versions[name] = None
        code = hashlib.sha256()
        for package in ("fcdd", "pipeline"):
            spec = find_spec(package)
            if spec is None or spec.origin is None:
                versions["fcdd"] = None
                continue
            folder = Path(spec.origin).parent
            for file in sorted(folder.rglob("*.py")):
                code.update(str(file.relative_to(folder)).encode() + file.read_bytes())
        seen = {path: Path(path).exists() for path in paths}
        return {"versions": versions, "code": code.hexdigest(), "seen": seen}

    return look


def _faults(here: dict[str, Any], there: dict[str, Any], *, out: str) -> Iterator[str]:
    """What another node lacks of this one."""
    for name, version in there["versions"].items():
        if version is None:
            yield f"has no {name}"
        elif version != here["versions"][name]:
            yield f"has {name} {version}, the driver {here['versions'][name]}"
    if there["versions"]["fcdd"] is not None and there["code"] != here["code"]:
        yield "has other code of fcdd than the driver"
    for path, exists in there["seen"].items():
        if not exists:
            yield f"does not see {Path(path).parent if path == out else path}"
