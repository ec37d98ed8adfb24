"""A real S3 server (moto's) on loopback, that fails as it is told to."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY, SECRET = "AKIAOFTHETESTS", "canary-8f2d41"
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        pass


@dataclass
class Fault:
    """Of the requests with `part`, each `every`-th is answered with 503, or late by `seconds`, and
    `times` in all."""

    part: str
    times: int
    every: int = 1
    seconds: float = 0.0
    met: int = 0

    def hits(self, line: str) -> bool:
        """Whether the request `line` is one of them."""
        if self.part not in line or not self.times:
            return False
        self.met += 1
        hit = self.met % self.every == 0
        self.times -= hit
        return hit


class Server:
    """S3 without TLS for who knows the key. `requests` are lines such as "PUT /bucket/rows/k"."""

    def __init__(self) -> None:
        self._s3 = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self.requests: list[str] = []
        self.port = 0
        self.start()

    @property
    def query(self) -> str:
        return f"endpoint_override=127.0.0.1:{self.port}&scheme=http"

    def start(self) -> None:
        self._faults: list[Fault] = []
        self._server = make_server(
            "127.0.0.1", self.port, self, threaded=True, request_handler=_Quiet
        )
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuses connections from now on; what is stored stays for the next start."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def start_anew(self) -> None:
        """Without faults."""
        self._faults = []

    def slow_down(self, part: str, *, times: int, every: int = 1) -> None:
        """Answers `times` requests that contain `part` with 503 SlowDown."""
        self._faults.append(Fault(part, times, every))

    def delay(self, part: str, *, times: int, seconds: float) -> None:
        """Answers the next `times` requests that contain `part` late."""
        self._faults.append(Fault(part, times, seconds=seconds))

    def seen(self, part: str) -> list[str]:
        with self._lock:
            return [line for line in self.requests if part in line]

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        query = environ["QUERY_STRING"]
        line = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{'?' if query else ''}{query}"
        with self._lock:
            self.requests.append(line)
            fault = next((one for one in self._faults if one.hits(line)), None)
        if f"Credential={KEY}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            return _refuse(environ, start, "403 Forbidden", _DENIED)
        if fault and not fault.seconds:
            return _refuse(environ, start, "503 Slow Down", _SLOW_DOWN)
        if fault:
            time.sleep(fault.seconds)
        return self._s3(environ, start)


def _refuse(
    environ: dict[str, Any], start: Callable[..., Any], status: str, body: bytes
) -> Iterable[bytes]:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    body = b"" if environ["REQUEST_METHOD"] == "HEAD" else body
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]
