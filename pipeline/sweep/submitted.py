"""`fcdd run` as a Ray job on a cluster elsewhere, submitted to the address of its dashboard."""

import asyncio
import logging
import shlex
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

_POLL_SECONDS = 1.0
_STARTING_SECONDS = 60.0


def submit(
    address: str, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]
) -> str:
    """Uploads `folder`, without what its .rayignore names, starts `python -m jobs` with `arguments`
    in it, and returns the job's id. Raises ValueError where the cluster does not take it."""
    deadline = time.monotonic() + _STARTING_SECONDS
    with _answering(address):
        client = _client(address)
        while True:
            try:
                return client.submit_job(
                    entrypoint=shlex.join(["python", "-m", "jobs", *arguments]),
                    runtime_env={"working_dir": str(folder), "env_vars": dict(environment)},
                )
            except RuntimeError as error:  # a head that has just started
                if "No available agent" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)


def log(address: str, job: str) -> Generator[str, None, None]:
    """Yields the job's output as it comes, until the job ends. Raises ValueError where the cluster
    does not answer; the job goes on."""
    with _answering(address):
        pieces = _client(address).tail_job_logs(job)
    with asyncio.Runner() as runner:
        while True:
            try:
                with _answering(address):
                    piece = runner.run(anext(pieces))  # pyright: ignore[reportArgumentType]
            except StopAsyncIteration:
                return
            yield piece


def exit_code(address: str, job: str) -> tuple[int, str]:
    """Waits for the job's end; its exit code (0 exactly if it succeeded), and how it ended."""
    with _answering(address):
        client = _client(address)
        while not (status := client.get_job_status(job)).is_terminal():
            time.sleep(_POLL_SECONDS)
        info = client.get_job_info(job)
    if status == JobStatus.SUCCEEDED:
        return 0, "succeeded"
    message = (info.message or "").strip().splitlines()
    told = f"{status.value.lower()}: {message[0]}" if message else status.value.lower()
    return info.driver_exit_code or 1, told


def _client(address: str) -> JobSubmissionClient:
    client = JobSubmissionClient(address)
    logging.getLogger("ray").setLevel(logging.ERROR)  # it names every file that it leaves out
    return client


@contextmanager
def _answering(address: str) -> Iterator[None]:
    """Turns what Ray raises inside into a ValueError with a remedy."""
    try:
        yield
    except (AuthenticationError, ConnectionError, RuntimeError) as error:
        text = str(error)
        line = next((line.strip() for line in text.splitlines() if line.strip()), repr(error))
        if isinstance(error, AuthenticationError):
            raise ValueError(
                f"{address}: {line.partition('. ')[0]}; copy the cluster's ~/.ray/auth_token to "
                "this machine, or name its place with RAY_AUTH_TOKEN_PATH"
            ) from error
        if isinstance(error, ConnectionError):
            raise ValueError(
                f"{address} does not answer ({line}); is the cluster up, and the tunnel to port "
                "8265 of its head open (`ray dashboard ray_cluster.yaml`)?"
            ) from error
        raise ValueError(f"{address} does not take the job: {line}") from error
