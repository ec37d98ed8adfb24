"""What a chaos test kills, on this machine: a cluster of two nodes, a tracking server, a driver.

Every process carries the mark in its environment and ends with `World.end`.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = "FCDD_TEST_MARK"
_RAY = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1")


class World:
    """Folder, environment and processes of one chaos test."""

    def __init__(self, folder: Path, *, mark: str) -> None:
        self.folder, self._mark = folder, mark
        (folder / "token").write_text(secrets.token_hex(32))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "FCDD_"))}
        self._environment = kept | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "FCDD_COMMIT": "c" * 40,  # one all along: a checkpoint of another is not used
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "RAY_worker_niceness": "0",  # Ray's 15 starves workers on a busy machine
            MARK: mark,
        }
        self._started: list[subprocess.Popen[bytes]] = []

    def fcdd(self, name: str, *arguments: str, **environment: object) -> "subprocess.Popen[bytes]":
        """Starts `fcdd` with `arguments`."""
        return self.start(name, [sys.executable, "-m", "jobs", *arguments], **environment)

    def start(
        self, name: str, command: Sequence[str], **environment: object
    ) -> "subprocess.Popen[bytes]":
        """Starts `command`; what it says goes to the log `name`."""
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=self._environment | {k: str(value) for k, value in environment.items()},
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def log(self, name: str) -> Path:
        """Where the output of `name` stands."""
        return self.folder / f"{name}.log"

    def said(self, name: str) -> str:
        """The output of `name`."""
        return self.log(name).read_text(errors="replace")

    def processes(self) -> set[int]:
        """All processes with the mark that are alive."""
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # ended meanwhile, or another user's
                if f"{MARK}={self._mark}".encode() in (folder / "environ").read_bytes():
                    found.add(int(folder.name))
        return found

    def end(self) -> None:
        """Ends every process with the mark."""
        deadline = time.monotonic() + 30
        while (left := self.processes()) and time.monotonic() < deadline:
            for process in left:
                kill(process)
            time.sleep(0.2)
        for process in self._started:
            process.wait(10)


class Cluster:
    """A Ray head with one slot; a second node with one more can be started, lost and replaced."""

    def __init__(self, world: World) -> None:
        self._world = world
        gcs, dashboard = free_port(), free_port()
        self.address = f"127.0.0.1:{gcs}"
        self._short = tempfile.mkdtemp(prefix="fcdd", dir="/tmp")  # sockets have short paths
        world.start(
            "head",
            [
                *(*_RAY, "--head", "--disable-usage-stats", "--temp-dir", self._short),
                *("--port", str(gcs), "--dashboard-host", "127.0.0.1"),
                *("--dashboard-port", str(dashboard), "--include-dashboard", "false"),
                *("--dashboard-agent-listen-port", str(free_port())),
            ],
        )
        self._wait("head", 1)
        self._nodes = 0
        self.raylet = 0  # of the second node

    def start_node(self) -> None:
        """Starts the second node, and waits for it."""
        before = raylets(self._world)
        self._nodes += 1
        self._world.start(
            "node",
            [
                *(*_RAY, "--disable-usage-stats", "--address", self.address),
                *("--dashboard-agent-listen-port", str(free_port())),
            ],
        )
        self._wait("node", self._nodes)
        (self.raylet,) = raylets(self._world) - before

    def _wait(self, name: str, times: int) -> None:
        wait(
            lambda: self._world.said(name).count("This command will now block") >= times,
            lambda: f"{name} did not start: {self._world.said(name)[-2000:]}",
        )

    def end(self) -> None:
        """Removes what the nodes left behind, once they are ended."""
        shutil.rmtree(self._short, ignore_errors=True)


class Server:
    """`mlflow server` on SQLite, on loopback."""

    def __init__(self, world: World) -> None:
        self._world, self._port = world, free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self.store = f"sqlite:///{world.folder / 'server.db'}"
        self.start()

    def start(self) -> None:
        """Starts it and does not wait for it."""
        self._process = self._world.start(
            "server",
            [
                *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                *("--host", "127.0.0.1", "--port", str(self._port)),
                *("--backend-store-uri", self.store),
                *("--artifacts-destination", str(self._world.folder / "artifacts")),
            ],
        )

    def wait(self) -> None:
        """Waits until it answers."""
        wait(self._answers, lambda: self._world.said("server")[-2000:])

    def kill(self) -> None:
        """Kills all of its processes."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)

    def _answers(self) -> bool:
        with (
            suppress(OSError),
            urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer,
        ):
            return answer.status == 200
        return False


def raylets(world: World) -> set[int]:
    """The raylets among the processes of `world`."""
    found = set()
    for process in world.processes():
        with suppress(OSError):
            if Path(f"/proc/{process}/comm").read_text().strip() == "raylet":
                found.add(process)
    return found


def kill(process: int) -> bool:
    """Kills `process`; whether it was there."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
        return True
    return False


def parent(process: int) -> int:
    """The process that started `process`, of a worker its raylet; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def free_port() -> int:
    """A port on loopback at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait(condition: Callable[[], bool], told: Callable[[], str], *, seconds: float = 180) -> None:
    """Waits until `condition`. Raises TimeoutError with what `told` says if it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(told())
        time.sleep(0.005)
