"""`python -m jobs` and the console script `fcdd`."""

import atexit
import errno
import os
import sys

from jobs.cli import SWITCHES, app
from pipeline import stores


def main() -> None:
    """Runs the command line. What a user can mend becomes one line and exit code 2."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    try:
        _run()
    except SystemExit as end:
        if stores.opened and isinstance(end.code, int):
            _leave(end.code)
        raise


def _leave(code: int) -> None:
    """Ends the process at once. Where it has read an object store, threads of pyarrow may outlive
    Python's end, which aborts: 5 of 60 processes that had done their work (pyarrow 25)."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run() -> None:
    try:
        app()
    except ValueError as error:
        if os.environ.get("FCDD_DEBUG"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or os.environ.get("FCDD_DEBUG"):
            raise
        where = f" {error.filename}" if error.filename else ""
        print(
            f"error: the disk is full ({error.strerror}{where}); free space there, then the same "
            "command goes on",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
