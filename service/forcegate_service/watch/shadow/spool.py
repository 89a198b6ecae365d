"""A folder of small files between two processes: one puts them, any number of others take them.

A file is written under another name and renamed, so it is whole or not there. Whoever takes one
holds a lock on it, which the system releases however that process ends: a claim needs no time-out,
and what a dead process had claimed is taken by the next. The number in a file's name counts claims,
because a file that ends its reader each time must not do so for ever.
"""

from __future__ import annotations

import fcntl
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from forcegate_client.writing.atomic import TEMPORARY_FILES, write_atomically
from forcegate_service.watch.disk import make_private

__all__ = ["Claim", "Spool", "SpoolFull"]

_NAME = re.compile(r"(\d{20}-[0-9a-f]{8})\.(\d+)\.msgpack")
# A writer is done with its temporary file long before.
_ABANDONED_S = 60.0
# A full spool that nobody empties is not counted for every file that finds no room.
_LOOK_AGAIN_S = 1.0


class SpoolFull(Exception):
    """There is no room; what was to be put is dropped and counted."""


@dataclass(frozen=True)
class Claim:
    """A file that this process alone holds; ``attempt`` counts from 1."""

    path: Path
    content: bytes
    attempt: int
    _descriptor: int

    @property
    def name(self) -> str:
        """By which the file is known, however often it was claimed."""
        return _name(self.path)

    def done(self) -> None:
        """Take the file out of the spool."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def release(self) -> None:
        """Leave it to others, as if it had not been claimed."""
        with suppress(FileNotFoundError):
            self.path.rename(_numbered(self.path, self.attempt - 1))
        os.close(self._descriptor)


class Spool:
    """The files in ``folder``, at most ``max_files`` of together ``max_bytes``."""

    def __init__(
        self,
        folder: Path,
        max_files: int = 1_000,
        max_bytes: int = 2**26,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._opened = False
        # At most so much is in the folder: this process alone puts files there.
        self._held_files = self._held_bytes = 0
        self._look_again_at = -math.inf
        self._clock = clock

    def open(self) -> None:
        """Make the folder, private, and throw away what dead writers left half-written.

        Raises:
            OSError: if it cannot be used.
        """
        make_private(self.folder)
        for path in self.folder.glob(TEMPORARY_FILES):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    path.unlink()
        self._look()
        self._opened = True

    def put(self, content: bytes) -> None:
        """Add a file.

        Raises:
            SpoolFull: if there is no room.
            OSError: if it cannot be written, or the folder cannot be used.
        """
        if not self._opened:
            self.open()
        if not self._has_room(len(content)):
            raise SpoolFull
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.0.msgpack"
        write_atomically(self.folder / name, content, 0o600)
        self._held_files += 1
        self._held_bytes += len(content)

    def contents(self) -> Iterator[bytes]:
        """What all files hold, claimed ones too."""
        for path in self._files():
            with suppress(FileNotFoundError):
                yield path.read_bytes()

    def claim(self, without: Collection[str] = ()) -> Claim | None:
        """The oldest file that nobody holds, ``without`` those of these names, or None."""
        for path in self._files():
            claim = None if _name(path) in without else _claim(path)
            if claim is not None:
                return claim
        return None

    def _has_room(self, size: int) -> bool:
        """Looks into the folder only if there may be none, and then not for every file."""
        if self._is_full(size) and self._clock() >= self._look_again_at:
            self._look()
            self._look_again_at = self._clock() + _LOOK_AGAIN_S
        return not self._is_full(size)

    def _look(self) -> None:
        sizes = [_size(path) for path in self._files()]
        self._held_files, self._held_bytes = len(sizes), sum(sizes)

    def _is_full(self, size: int) -> bool:
        return self._held_files >= self._max_files or self._held_bytes + size > self._max_bytes

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))


def _claim(path: Path) -> Claim | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who held it before may have finished it, or given it back, since the folder was read.
        if path.stat().st_ino != os.fstat(descriptor).st_ino:
            raise FileNotFoundError
        attempt = _attempts(path) + 1
        claimed = path.rename(_numbered(path, attempt))
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            return Claim(claimed, stream.read(), attempt, descriptor)
    except (FileNotFoundError, BlockingIOError):
        os.close(descriptor)
        return None


def _name(path: Path) -> str:
    return path.name.partition(".")[0]


def _attempts(path: Path) -> int:
    return int(path.name.split(".")[1])


def _numbered(path: Path, attempt: int) -> Path:
    return path.with_name(f"{_name(path)}.{attempt}.msgpack")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
