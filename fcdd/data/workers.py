"""Processes that decode the images of a streamed pool into memory shared with this one.

Processes and not threads: a JPEG of 500x375 takes 3 ms of a core, a fifth of that inside the
interpreter's lock, which would hold up the thread that trains and end at five cores.
"""

import json
import mmap
import os
import queue
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np

from fcdd.data.listing import Changed, Entry
from fcdd.data.worker import PoolFit, Shape

# Passes on the search path of this process: on a cluster it is set by no variable.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from fcdd.data.worker import main; main(sys.argv[1:])"
)


class Workers:
    """`num` processes and a memory of `slots` images [slots, c, h, w].

    They end with `close`, with the last reference to this object, or with the program."""

    def __init__(self, num: int, *, slots: int, shape: Shape, fit: PoolFit) -> None:
        file = _memory_file(slots * int(np.prod(shape)))
        self.memory = np.frombuffer(mmap.mmap(file, 0), np.uint8).reshape(-1, *shape)
        arguments = [str(file), *map(str, shape), fit, json.dumps(sys.path)]
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _START, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=(file,),
            )
            for _ in range(num)
        ]
        self._idle: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        for process in processes:
            self._idle.put(process)
        self.close = weakref.finalize(self, _end, os.getpid(), processes, file)

    def decode(self, items: Sequence[tuple[int, str, Entry]]) -> list[str | None]:
        """Decodes files (slot, name, entry) to their slots; per file None, or why it cannot be.

        Called from as many threads as there are processes. Raises Changed for a file that is not as
        it was listed, RuntimeError if the process ended.
        """
        process = self._idle.get()
        assert process.stdin and process.stdout
        request = json.dumps([(slot, name, *astuple(entry)) for slot, name, entry in items])
        try:
            process.stdin.write(request + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            self._idle.put(process)  # a dead one too: the next to get it must not wait for another
        if not line:
            raise RuntimeError(
                f"a decoding process ended with {process.wait()} at one of "
                f"{', '.join(name for _, name, _ in items)}; a file may crash Pillow, or the "
                "memory is short"
            )
        faults: list[tuple[str, str] | None] = json.loads(line)
        for fault in faults:
            if fault and fault[0] == "changed":
                raise Changed(fault[1])
        return [fault[1] if fault else None for fault in faults]


def _end(owner: int, processes: Sequence["subprocess.Popen[str]"], file: int) -> None:
    if os.getpid() != owner:  # a fork of the owner, at its end
        return
    for process in processes:
        process.terminate()
    for process in processes:
        process.communicate()
    os.close(file)


def _memory_file(num_bytes: int) -> int:
    """An open file of `num_bytes` that has no name and, on Linux, lies in memory."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("fcdd-pool")
    else:
        with tempfile.TemporaryFile() as named:
            file = os.dup(named.fileno())
    os.ftruncate(file, max(num_bytes, 1))
    return file
