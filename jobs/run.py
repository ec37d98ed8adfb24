"""The script that `ray submit ray_cluster.yaml jobs/run.py -- quickstart --out DIR` sends to a head
node: `fcdd run` with the same arguments. The package must be installed there."""

import sys

from jobs.__main__ import main

if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.argv[1:] = ["run", *(arguments[1:] if arguments[:1] == ["--"] else arguments)]
    main()
