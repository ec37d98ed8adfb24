"""The script that `ray submit ray_cluster.yaml jobs/run.py -- quickstart --out DIR` sends to a head
node: `fcdd run` with the same arguments, on the cluster of that head. The package must be installed
there."""

import os
import sys

from jobs.__main__ import main


def run_arguments(arguments: list[str], *, address: str | None) -> list[str]:
    """The arguments of `fcdd run`; without --address (and RAY_ADDRESS, `address`) the cluster of
    this node, not a Ray of the driver's own."""
    given = arguments[1:] if arguments[:1] == ["--"] else arguments
    named = address or any(one.partition("=")[0] == "--address" for one in given)
    return ["run", *given, *([] if named else ["--address", "auto"])]


if __name__ == "__main__":
    sys.argv[1:] = run_arguments(sys.argv[1:], address=os.environ.get("RAY_ADDRESS"))
    main()
