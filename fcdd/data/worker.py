"""What a process that decodes images of a streamed pool runs: no torch, so that it starts at once.

It is told by lines of JSON on its standard input which files to decode to which places of a shared
memory, and answers each line on its standard output.
"""

import json
import mmap
import signal
import sys
import warnings
import zlib
from collections.abc import Sequence
from typing import IO, Literal

import numpy as np
from PIL import Image

from fcdd.data.listing import Changed, Entry, read
from fcdd.data.pictures import decode, planes

Shape = tuple[int, int, int]  # c h w
# How an image of a pool comes to (h, w): squashed, or covering it and cut along its longer side.
PoolFit = Literal["squash", "crop"]


def fitted(content: bytes, shape: Shape, fit: PoolFit, *, name: str) -> np.ndarray:
    """The image in `content` as uint8 [c, h, w], bilinear and antialiased; gray by its luma.

    A JPEG at least 4 times too large is decoded at a fraction of its size. Where "crop" cuts is a
    property of the file: all places are equally likely over files, the same for one `name`, so
    that a pool holds the same images for every run. Raises ValueError for what cannot be read.
    """
    c, h, w = shape
    picture = decode(content, mode="RGB", name=name, draft=(h, w))
    box = (0.0, 0.0, float(picture.width), float(picture.height))
    if fit == "crop":
        box = _box(picture.width, picture.height, shape, zlib.crc32(name.encode(errors="replace")))
    picture = picture.resize((w, h), Image.Resampling.BILINEAR, box=box)
    return planes(picture.convert("L") if c == 1 else picture)


def _box(width: int, height: int, shape: Shape, place: int) -> tuple[float, float, float, float]:
    """What of an image becomes (h, w) when it is resized to just cover that, as torchvision's
    Resize of the shorter side does for a square, and then cut at `place` / 2^32 of its length."""
    _, h, w = shape
    if h * width >= w * height:
        whole = width * h // height  # the width that covers
        left = (whole - w + 1) * place >> 32
        return left * width / whole, 0.0, (left + w) * width / whole, float(height)
    whole = height * w // width
    top = (whole - h + 1) * place >> 32
    return 0.0, top * height / whole, float(width), (top + h) * height / whole


def decode_to(memory: np.ndarray, line: str, shape: Shape, fit: PoolFit) -> str:
    """Decodes the files that `line` lists to their slots of `memory` [slots, c, h, w]; the answer.

    An item of `line` is [slot, name, *Entry]; the answer has for each: null, or [kind, message],
    where the kind is "unreadable" or "changed".
    """
    answers: list[tuple[str, str] | None] = []
    for slot, name, *entry in json.loads(line):
        try:
            memory[slot] = fitted(read(Entry(*entry)), shape, fit, name=name)
            answers.append(None)
        except Changed as error:
            answers.append(("changed", str(error)))
        except (ValueError, OSError) as error:
            answers.append(("unreadable", str(error)))
    return json.dumps(answers)


def serve(file: int, shape: Shape, fit: PoolFit, *, lines: IO[str], answers: IO[str]) -> None:
    """Answers every line of `lines` until they end. The memory is the file of number `file`."""
    memory = np.frombuffer(mmap.mmap(file, 0), np.uint8).reshape(-1, *shape)
    for line in lines:
        answers.write(decode_to(memory, line, shape, fit) + "\n")
        answers.flush()


def main(arguments: Sequence[str]) -> None:
    """The process: number of the memory's file, c, h, w, fit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    warnings.simplefilter("ignore")  # odd metadata is no reason to leave an image out
    file, c, h, w = (int(argument) for argument in arguments[:4])
    fit: PoolFit = "crop" if arguments[4] == "crop" else "squash"
    serve(file, (c, h, w), fit, lines=sys.stdin, answers=sys.stdout)
