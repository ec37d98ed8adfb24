"""Where an output folder lies: a path, or a place in an object store, named by a URI.

`Stored` answers what the folder's contract asks of a path, in the words of pathlib, so that a
`Place` is either of the two. It holds text alone: a worker gets it so and opens the store itself,
with the credentials of its own machine. Imports pyarrow only (fsspec where a URI needs it).
"""

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from pipeline.stores import StoreError, brief, open_store, refuse_secrets, root_of

_CHECK_SECONDS = 20.0  # for a store to answer at all, before anything starts
_AT_ONCE = 32  # requests side by side: each takes tens of milliseconds
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, order=True)
class Stored:
    """A place in an object store: `uri` without its query, which says how the store is reached.

    An object is written with one request, whole or not at all. There are no folders: one is there
    as long as an object is in it. All methods raise StoreError, an OSError and a ValueError, where
    the store does not do what it is asked; a request that fails is tried again for up to a minute,
    or, of a place that is `hasty`, for about a second.
    """

    uri: str
    query: str = ""
    hasty: bool = False

    def __str__(self) -> str:
        return f"{self.uri}?{self.query}" if self.query else self.uri

    def __truediv__(self, name: str) -> "Stored":
        return replace(self, uri=f"{self.uri}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.uri.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self.name.rpartition(".")[0] or self.name

    @property
    def parent(self) -> "Stored":
        """The place that this one is in."""
        return replace(self, uri=self.uri.rpartition("/")[0])

    @property
    def path(self) -> str:
        """Its name within `filesystem`."""
        root = root_of(self.uri)
        return self._opened()[1] + unquote(self.uri[len(root) :])

    @property
    def filesystem(self) -> Any:
        """The pyarrow filesystem."""
        return self._opened()[0]

    def in_haste(self) -> "Stored":
        """The same place, for what must not wait and is tried again later anyway."""
        return replace(self, hasty=True)

    def exists(self) -> bool:
        """Whether an object or a folder is here."""
        return self._info().type.name != "NotFound"

    def is_file(self) -> bool:
        """Whether an object is here."""
        return self._info().type.name == "File"

    def is_dir(self) -> bool:
        """Whether there are objects in this place."""
        return self._info().type.name == "Directory"

    def written_at(self) -> datetime | None:
        """When the object was written, by the clock of the store; None where there is none."""
        return self._info().mtime

    def mkdir(self) -> None:
        """Makes the place visible while no object is in it."""
        with self._asked():
            self.filesystem.create_dir(self.path, recursive=True)

    def glob(self, pattern: str) -> Iterator["Stored"]:
        """What is here, not deeper, of names that fit `pattern`; nothing in a place not there."""
        from pyarrow.fs import FileSelector

        with self._asked():
            found = self.filesystem.get_file_info(FileSelector(self.path, allow_not_found=True))
        for info in found:
            if fnmatchcase(info.base_name, pattern):
                yield self / info.base_name

    def read_bytes(self) -> bytes:
        """The object's content. Raises FileNotFoundError where there is none."""
        with self._asked(), self.filesystem.open_input_stream(self.path, compression=None) as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The object's content as text. Raises FileNotFoundError where there is none."""
        return self.read_bytes().decode(encoding, errors)

    def write_bytes(self, data: bytes) -> None:
        """Makes or replaces the object, whole or not at all."""
        try:
            self._put(data)
        except FileNotFoundError:  # a file system that is no object store: its folders are real
            self.parent.mkdir()
            self._put(data)

    def _put(self, data: bytes) -> None:
        with (
            self._asked(),
            self.filesystem.open_output_stream(self.path, compression=None) as file,
        ):
            file.write(data)

    def unlink(self, missing_ok: bool = False) -> None:
        """Deletes the object. Raises FileNotFoundError where there is none, unless told not to."""
        try:
            with self._asked():
                self.filesystem.delete_file(self.path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_all(self) -> None:
        """Deletes all objects in this place, if any."""
        try:
            with self._asked():
                self.filesystem.delete_dir(self.path)
        except FileNotFoundError:
            pass

    def _info(self) -> Any:
        with self._asked():
            return self.filesystem.get_file_info(self.path)

    def _opened(self) -> tuple[Any, str]:
        return _opened(root_of(self.uri), self.query, self.hasty)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        from pyarrow import ArrowException

        try:
            yield
        except (FileNotFoundError, StoreError):
            raise
        except (OSError, ArrowException) as error:
            raise StoreError(f"{self}: {brief(error)}") from None


Place = Path | Stored


@lru_cache
def _opened(root: str, query: str, hasty: bool) -> tuple[Any, str]:
    """One client a process: it keeps its connections."""
    return open_store(root, query, hasty=hasty)


def place_of(text: str | Path) -> Place:
    """The place that `text` names: a path, file:// or another URI. Asks nothing of a store.

    Raises ValueError for a URI that is none or holds credentials, which is not repeated then.
    """
    if isinstance(text, Path) or "://" not in text:
        if re.match(r"(s3|gs|gcs|abfss?|hdfs):", str(text)):
            raise ValueError(f"{str(text)!r} is no URI: two slashes have to follow its colon")
        return Path(text)
    refuse_secrets(text)
    parts = urlsplit(text)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if not parts.netloc or parts.fragment:
        raise ValueError(f"{text!r} is no place for results; write it as s3://BUCKET/FOLDER")
    path = re.sub("/+", "/", parts.path).rstrip("/")
    return Stored(f"{parts.scheme}://{parts.netloc}{path}", parts.query)


def reached(text: str | Path) -> Place:
    """The place that `text` names, and of a store that it answers, within seconds.

    Raises ValueError where it does not: no such bucket, no or wrong credentials, nobody there.
    """
    found = place_of(text)
    if isinstance(found, Stored):
        _within(_CHECK_SECONDS, lambda: _check(found.in_haste()), found)
    return found


def _check(stored: Stored) -> None:
    """Raises ValueError if objects can neither be listed nor looked for there."""
    filesystem, root = stored.filesystem, stored._opened()[1]
    with stored._asked():
        there = filesystem.get_file_info(root).type.name
    if there == "NotFound" and stored.uri.startswith(("s3:", "gs:", "gcs:")):
        raise StoreError(f"{stored}: no such bucket, or none that these credentials may see")
    list(stored.glob("*"))


def _within(seconds: float, ask: Callable[[], None], stored: Stored) -> None:
    """Calls `ask` in a thread: a server that takes a connection and says nothing has no time limit
    of its own."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            ask()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, name="first request", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise StoreError(f"{stored} does not answer within {seconds:g} s")
    if raised:
        raise raised[0]


def each(ask: Callable[..., R], places: Iterable[T], *more: Iterable[Any]) -> list[R]:
    """`ask` of every place (and its share of `more`), in order; in a store side by side."""
    listed = list(places)
    if len(listed) < 2 or not isinstance(listed[0], Stored):
        return list(map(ask, listed, *more))
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(ask, listed, *more))
