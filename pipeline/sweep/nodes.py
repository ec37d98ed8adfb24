"""What must hold on every node of a cluster: before the first run, and on nodes that join later."""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.files import write_text
from pipeline.places import Place, place_of
from pipeline.sweep.cluster import alive

_NODE_SECONDS = 120.0  # a node has to answer within; the first worker on it has to start
_JOIN_SECONDS = 0.5  # between two looks for new nodes: a look costs 1 ms, a worker's start seconds
_HELD_SECONDS = 600.0  # by when the driver has ended a worker that does not fit
_COMPARED = ("fcdd", "torch", "numpy")


@dataclass(frozen=True)
class Required:
    """The code and the versions of the driver."""

    code: str
    versions: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Checked:
    """Nodes (their ids) that fit, and what they were held to."""

    nodes: frozenset[str]
    required: Required
    out: Place
    needed: tuple[Path, ...]


def check_nodes(
    out: Place,
    *,
    needed: Sequence[Path] = (),
    besides: Collection[str] = (),
    stop: threading.Event | None = None,
) -> Checked:
    """Raises ValueError naming the nodes that do not have this code and these versions, or do not
    see the output folder `out` or the files of `needed`.

    The nodes `besides` are not asked. Once `stop` is set it returns without the answers.
    """
    probe = out / f".probe-{secrets.token_hex(8)}"
    write_text(probe, "written by the driver\n")
    paths = [str(probe), *(str(path) for path in needed)]
    look = _look()
    here = look(_COMPARED, paths)
    required = Required(here["code"], tuple(here["versions"].items()))
    faults: list[str] = []
    try:
        nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in alive()}
        asked = {_ask(look, node, paths): node for node in nodes if node not in besides}
        answered = {node for node in nodes if node in besides}
        for answer, node in _answers(asked, stop or threading.Event()):
            answered.add(node)
            if isinstance(answer, str):
                if node in {one["NodeID"] for one in alive()}:  # else it is gone again
                    faults.append(f"{nodes[node]} does not answer ({answer})")
                continue
            found = _faults(required, answer, out=str(probe))
            faults += [f"{nodes[node]} {fault}" for fault in found]
    finally:
        probe.unlink(missing_ok=True)
    if faults:
        raise ValueError(
            f"not every node can do the runs: {'; '.join(faults)}; install the same code and "
            "versions on every node, and let all see the same folders under the same path"
        )
    return Checked(frozenset(answered), required, out, tuple(needed))


@contextmanager
def newcomers_checked(checked: Checked, tell: Callable[[ValueError], None]) -> Iterator[None]:
    """Tells of nodes that join within the block and do not fit."""
    done = threading.Event()

    def watch() -> None:
        known = checked.nodes
        while not done.wait(_JOIN_SECONDS):
            try:
                if {node["NodeID"] for node in alive()} <= known:
                    continue
                found = check_nodes(checked.out, needed=checked.needed, besides=known, stop=done)
            except RayError:  # the head is away, which is told elsewhere
                continue
            except ValueError as error:
                tell(
                    ValueError(
                        f"{error}. It joined while runs were at work; rows and checkpoints are "
                        "kept: mend it or take it out, then the same command goes on"
                    )
                )
                return
            known = known | found.nodes

    thread = threading.Thread(target=watch, name="newcomers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(10)


def hold_unless_fit(required: Required, tell: Callable[[str], None]) -> None:
    """Returns at once in a worker that has the driver's code and versions.

    Another one waits here to be ended, because the driver, which asks every node that joins, ends
    the sweep and names this one: its runs are neither begun nor counted as failed. On a node that
    fitted before, whose code was changed under the sweep, nobody does; so it is told.
    """
    faults = _faults_here(required)
    if faults:
        fault = f"node {socket.gethostname()} {'; '.join(faults)}"
        tell(
            f"is not begun: {fault}; if that changed after the sweep began, end it with Ctrl-C, "
            "and the same command goes on"
        )
        time.sleep(_HELD_SECONDS)
        raise RuntimeError(fault)


@lru_cache
def _faults_here(required: Required) -> list[str]:
    return list(_faults(required, _look()(_COMPARED, []), out=""))


def _answers(asked: dict[Any, str], stop: threading.Event) -> Iterator[tuple[Any, str]]:
    """What the nodes answer, or the text of why one does not."""
    open_answers, asked_at = list(asked), time.monotonic()
    while open_answers and not stop.is_set():
        ready, open_answers = ray.wait(open_answers, timeout=1.0)
        for answer in ready:
            try:
                yield ray.get(answer), asked[answer]
            except RayError as error:
                lines = [one.strip() for one in str(error).splitlines() if one.strip()]
                yield (lines or [repr(error)])[-1], asked[answer]
        if time.monotonic() - asked_at > _NODE_SECONDS:
            for answer in open_answers:
                yield f"nothing within {_NODE_SECONDS:g} s", asked[answer]
            return


def _ask(look: Callable[..., Any], node: str, paths: list[str]) -> Any:
    there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    remote: Any = ray.remote(look)
    chosen = remote.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
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
        seen: dict[str, bool] = {}
        told: dict[str, str] = {}
        for path in paths:
            if "://" not in path:
                seen[path] = Path(path).exists()
                continue
            try:
                from pipeline.places import Stored, place_of

                stored = place_of(path)
                seen[path] = isinstance(stored, Stored) and stored.in_haste().exists()
            except Exception as error:  # the store refuses, or the package is missing there
                seen[path], told[path] = False, str(error)
        return {"versions": versions, "code": code.hexdigest(), "seen": seen, "told": told}

    return look


def _faults(required: Required, there: dict[str, Any], *, out: str) -> Iterator[str]:
    """What a node lacks."""
    wanted = dict(required.versions)
    for name, version in there["versions"].items():
        if version is None:
            yield f"has no {name}"
        elif version != wanted[name]:
            yield f"has {name} {version}, the driver {wanted[name]}"
    if there["versions"]["fcdd"] is not None and there["code"] != required.code:
        yield "has other code of fcdd than the driver"
    for path, exists in there["seen"].items():
        if not exists:
            why = f" ({there['told'][path]})" if there["told"].get(path) else ""
            yield f"does not see {place_of(path).parent if path == out else path}{why}"
