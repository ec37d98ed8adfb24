"""`python -m jobs` and the console script `fcdd`."""

import errno
import os
import sys

from jobs.cli import SWITCHES, app


def main() -> None:
    """Runs the command line. What a user can mend becomes one line and exit code 2."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
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
