"""`fcdd run --address http(s)://HOST:8265`: the same command as a job on a cluster elsewhere."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline import environment
from pipeline.places import Place

_DROPPED = ("--address", "--detach", "--insecure")  # what is about the submission alone


def run_there(
    address: str, arguments: Sequence[str], *, out: Place | None, detach: bool, commit: str | None
) -> int:
    """Submits `fcdd` with `arguments`, follows its output unless `detach`, and returns the job's
    exit code.

    The code of the working directory is sent along, without what .rayignore names. Raises
    ValueError where the job would lose its results, or the cluster does not take it.
    """
    from pipeline.sweep import submitted

    if out is None or (isinstance(out, Path) and not out.is_absolute()):
        raise ValueError(
            f"--out {str(out) if out else '(none)'!r} would lie in the job's own folder, which "
            "goes with it; give the absolute path of a folder that all nodes of the cluster see, "
            "or an object store, s3://BUCKET/FOLDER"
        )
    named = commit or _named(environment.commit())
    job = submitted.submit(
        address,
        without_submission(arguments),
        folder=Path.cwd(),
        environment={"FCDD_COMMIT": named} if named else {},
    )
    if detach:
        print(job)
        return 0
    print(f"job {job} at {address}; Ctrl-C leaves it running", file=sys.stderr)
    try:
        for piece in submitted.log(address, job):
            print(piece, end="", flush=True)
        code, told = submitted.exit_code(address, job)
    except KeyboardInterrupt:
        print(
            f"\njob {job} goes on; its output: ray job logs --address {address} --follow {job}; "
            f"its end: ray job stop --address {address} {job}",
            file=sys.stderr,
        )
        return 130
    if code:
        print(f"job {job} {told}", file=sys.stderr)
    return code


def without_submission(arguments: Sequence[str]) -> list[str]:
    """`arguments` without the options that only say where to submit them."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        name = argument.partition("=")[0]
        if skip:
            skip = False
        elif name in _DROPPED:
            skip = argument == "--address"
        else:
            kept.append(argument)
    return kept


def _named(commit: dict) -> str | None:
    if commit["dirty"] is None:
        return None
    return commit["commit"] + ("-dirty" if commit["dirty"] else "")
