"""A pool of outliers that stays on disk: decoded while training goes on, in bounded memory."""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from fcdd.data.decoding import in_threads
from fcdd.data.listing import Changed, Listing
from fcdd.data.worker import PoolFit, Shape, fitted
from fcdd.data.workers import Workers

_BATCHES_AHEAD = 3  # one in use, two being decoded
_FILES_A_REQUEST = 8  # about 20 ms of work, against 0.1 ms to ask for it
_MAX_UNREADABLE = 100  # in a row: then it is not single files that are broken


class _Idle:
    """Workers that wait for the next epoch: starting them takes 0.2 s. A pickle has none."""

    def __init__(self) -> None:
        self._workers: Workers | None = None

    def __reduce__(self) -> tuple[type["_Idle"], tuple[()]]:
        return _Idle, ()

    def take(self, num: int, *, slots: int, shape: Shape, fit: PoolFit) -> Workers:
        """The waiting workers if their memory is large enough, else new ones."""
        workers, self._workers = self._workers, None
        if workers is not None and len(workers.memory) >= slots:
            return workers
        if workers is not None:
            workers.close()
        return Workers(num, slots=slots, shape=shape, fit=fit)

    def give(self, workers: Workers) -> None:
        """Keeps `workers` waiting, unless others are."""
        if self._workers is None:
            self._workers = workers
        else:
            workers.close()


@dataclass(frozen=True)
class Streamed:
    """n images uint8 [c, h, w] = `shape`, decoded from `files` when they are asked for.

    In place of a file that cannot be read comes the next readable one of the list, so the images
    do not depend on timing; its name is kept in `unreadable`. `workers` processes decode (0: this
    thread); their number decides nothing else.
    """

    files: Listing
    shape: Shape
    fit: PoolFit
    workers: int = 2
    _met: set[str] = field(default_factory=set, compare=False, repr=False)
    _idle: _Idle = field(default_factory=_Idle, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The names of the unreadable files met so far, sorted."""
        return tuple(sorted(self._met))

    def fresh(self) -> "Streamed":
        """The same pool with nothing met yet: each run counts its own unreadable files."""
        return replace(self, _met=set(), _idle=_Idle())

    def serve(self, picks: Sequence[Tensor]) -> Generator[Tensor, None, None]:
        """Yields for each int64 [k] of `picks` the images of these places, uint8 [k, c, h, w].

        Two batches are decoded ahead, whatever the number of picks; memory is that of three.
        Raises ValueError if files changed, or 100 in a row cannot be read.
        """
        if self.workers == 0:
            for pick in picks:
                images = np.empty((len(pick), *self.shape), np.uint8)
                for image, place in zip(images, pick.tolist(), strict=True):
                    image[:] = self._image(place)
                yield torch.from_numpy(images)
            return
        most = max([1, *(len(pick) for pick in picks)])
        workers = self._idle.take(
            self.workers, slots=_BATCHES_AHEAD * most, shape=self.shape, fit=self.fit
        )
        threads = ThreadPoolExecutor(self.workers)
        try:
            yield from self._served(picks, most, workers, threads)
        except GeneratorExit:
            pass  # the consumer needs no more
        except BaseException:
            threads.shutdown(cancel_futures=True)
            workers.close()
            raise
        threads.shutdown(cancel_futures=True)
        self._idle.give(workers)

    def _served(
        self, picks: Sequence[Tensor], most: int, workers: Workers, threads: ThreadPoolExecutor
    ) -> Generator[Tensor, None, None]:
        ahead: deque[tuple[slice, list[Future[None]]]] = deque()
        for number, pick in enumerate(picks):
            if len(ahead) == _BATCHES_AHEAD:
                yield _collect(workers, *ahead.popleft())
            first = number % _BATCHES_AHEAD * most
            parts = pick.split(_FILES_A_REQUEST) if len(pick) else ()
            requests = [
                threads.submit(self._fill, workers, first + start, part.tolist())
                for start, part in zip(range(0, most, _FILES_A_REQUEST), parts, strict=False)
            ]
            ahead.append((slice(first, first + len(pick)), requests))
        while ahead:
            yield _collect(workers, *ahead.popleft())

    def select(self, indices: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
        """The images of some different places, uint8 [k, c, h, w], all in memory.

        A file already taken does not stand in for an unreadable one, and the first j of k images
        are those of the first j places. Raises ValueError as `serve`, or if too few are readable.
        """
        places = [int(index) for index in indices]
        images = np.empty((len(places), *self.shape), np.uint8)
        taken: set[int] = set()
        for number, (place, image) in enumerate(
            zip(places, in_threads(self._try, places), strict=True)
        ):
            for _ in range(_MAX_UNREADABLE + len(places)):
                if image is not None and place not in taken:
                    break
                place = (place + 1) % len(self)
                image = None if place in taken else self._try(place)
            else:
                raise self._hopeless(place)
            assert image is not None
            taken.add(place)
            images[number] = image
        return images

    def _try(self, place: int) -> np.ndarray | None:
        """The image of a place, uint8 [c, h, w]; None, and its name noted, if it is unreadable."""
        name = self.files.name(place)
        try:
            return fitted(self.files.read(place), self.shape, self.fit, name=name)
        except Changed:
            raise
        except (ValueError, OSError):
            self._met.add(name)
            return None

    def _image(self, place: int) -> np.ndarray:
        for _ in range(_MAX_UNREADABLE):
            image = self._try(place)
            if image is not None:
                return image
            place = (place + 1) % len(self)
        raise self._hopeless(place)

    def _fill(self, workers: Workers, first_slot: int, places: list[int]) -> None:
        """Decodes the images of `places` to the slots from `first_slot` on."""
        open_slots = list(range(len(places)))
        for _ in range(_MAX_UNREADABLE):
            items = [
                (first_slot + slot, self.files.name(places[slot]), self.files.entry(places[slot]))
                for slot in open_slots
            ]
            faults = workers.decode(items)
            open_slots = [s for s, fault in zip(open_slots, faults, strict=True) if fault]
            if not open_slots:
                return
            for slot in open_slots:
                self._met.add(self.files.name(places[slot]))
                places[slot] = (places[slot] + 1) % len(self)
        raise self._hopeless(places[open_slots[0]])

    def _hopeless(self, place: int) -> ValueError:
        return ValueError(
            f"{_MAX_UNREADABLE} files of the pool in a row cannot be read, up to "
            f"{self.files.entry(place).path}; `fcdd data check` says why"
        )


def _collect(workers: Workers, slots: slice, requests: list[Future[None]]) -> Tensor:
    for request in requests:
        request.result()
    return torch.from_numpy(workers.memory[slots].copy())
