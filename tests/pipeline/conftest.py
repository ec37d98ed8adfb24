"""Sweeps in processes of their own, what they may not leave behind, and tracking servers."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def marked_environment() -> Iterator[dict[str, str]]:
    """An environment whose mark finds every process of a sweep; none may be left (on Linux)."""
    value = uuid.uuid4().hex
    yield os.environ | {"FCDD_TEST_MARK": value}
    deadline = time.monotonic() + 10  # a worker may need a moment to learn of its node's end
    while marked(value) and time.monotonic() < deadline:
        time.sleep(0.2)
    left = {process: _command(process) for process in marked(value)}
    for process in left:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert not left, "the sweep left processes behind"


def _command(process: int) -> str:
    """What `process` is; "" if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def marked(value: str) -> list[int]:
    """Processes whose environment holds FCDD_TEST_MARK=`value`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"FCDD_TEST_MARK={value}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """`mlflow server` on loopback, on SQLite in `folder` or on `store`, in a process group of its
    own."""

    def __init__(
        self,
        folder: Path,
        *,
        store: str | None = None,
        arguments: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self.store = store or f"sqlite:///{folder / 'server.db'}"
        self._folder, self._arguments = folder, arguments
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                    *("--host", "127.0.0.1", "--port", str(self._port)),
                    *("--backend-store-uri", self.store, *self._arguments),
                    *("--artifacts-destination", str(self._folder / "artifacts")),
                ],
                env=os.environ
                | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
                | self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 180
        while not self._healthy():
            assert self._process.poll() is None, (self._folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the server did not start within 180 s"
            time.sleep(0.2)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Sends `number` to every process of the server."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Makes servers (keywords of `Server`) that end with the module; `start` them."""
    made: list[Server] = []

    def make(**options: Any) -> Server:
        made.append(Server(tmp_path_factory.mktemp("server"), **options))
        return made[-1]

    yield make
    for one in made:
        one.kill()


class Postgres:
    """A PostgreSQL of its own on loopback, with the role fcdd and its `password`."""

    def __init__(self, folder: Path, programs: Path, password: str) -> None:
        self.password, self._port = password, free_port()
        self._folder, self._programs = folder, programs
        root = os.geteuid() == 0  # as which PostgreSQL does not run
        self._user: Any = {"user": "postgres", "group": "postgres"} if root else {}
        if root:
            self._user["extra_groups"] = []
            shutil.chown(folder, "postgres", "postgres")
        secret = folder / "password"
        secret.write_text(password)
        secret.chmod(0o644)  # the folder is its owner's alone
        made = self._run(
            *("initdb", "--pgdata", str(folder / "data"), "--username", "fcdd", "--no-sync"),
            *("--auth", "scram-sha-256", "--pwfile", str(secret), "--locale", "C.UTF-8"),
        )
        assert made.returncode == 0, made.stdout + made.stderr
        with open(folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                [
                    *(str(programs / "postgres"), "-D", str(folder / "data")),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
                    *("-p", str(self._port), "-k", str(folder)),
                ],
                stdout=log,
                stderr=log,
                cwd=folder,
                **self._user,
            )

    def _run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self._programs / program), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self._folder,
            env=os.environ | {"PGPASSWORD": self.password},
            **self._user,
        )

    def create(self, database: str) -> str:
        """Creates `database`; its URI, without the password."""
        where = ("--host", "127.0.0.1", "--port", str(self._port), "--username", "fcdd")
        deadline = time.monotonic() + 60
        while True:
            made = self._run("createdb", *where, "--maintenance-db", "postgres", database)
            if not made.returncode:
                return f"postgresql+psycopg://fcdd@127.0.0.1:{self._port}/{database}"
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, made.stderr
            time.sleep(0.2)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """PostgreSQL of Debian's package; skips where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    which = shutil.which("initdb")
    if not found and which is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    programs = found[-1].parent if found else Path(os.path.realpath(which or "")).parent
    folder = Path(tempfile.mkdtemp(prefix="fcdd-pg", dir="/tmp"))  # sockets have short paths
    server = None
    try:
        server = Postgres(folder, programs, uuid.uuid4().hex)
        yield server
    finally:
        if server:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)
