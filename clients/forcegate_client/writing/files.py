"""Files that are there whole or not at all, also where the disk is full."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from forcegate_client.errors import OutputUnwritable
from forcegate_client.writing.atomic import flush

__all__ = ["ForgivingFile", "replacing", "require_writable", "unwritable", "write_text"]

_ACTIONS = {
    errno.ENOSPC: "make room on this disk, or write to another",
    errno.EDQUOT: "make room within your quota, or write to another disk",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or write less at a time",
    errno.EACCES: "choose a folder that you may write into",
    errno.EROFS: "choose a folder that you may write into",
    errno.EISDIR: "name a file, not a folder",
}


def require_writable(path: Path) -> None:
    """Find out before the work begins whether its result can be put at ``path``.

    Raises:
        OutputUnwritable: if ``path`` is a folder, or nothing can be written where it should be.
    """
    if path.is_dir():
        raise OutputUnwritable(
            f"{path}, which is a folder",
            expected="the name of a file to write",
            action="name a file in it",
        )
    if not path.parent.is_dir():
        raise OutputUnwritable(
            f"no folder {path.parent} to write {path.name} into",
            expected="a folder that is there",
            action="make it, or choose another place",
        )
    if _is_device(path):
        return
    trial = _aside(path)
    try:
        trial.write_bytes(b"")
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            trial.unlink()


@contextmanager
def replacing(path: Path, check: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """Gives a path beside ``path`` to write to; it takes the place of ``path`` when all went well.

    Before that it is on the disk and ``check``, which may read it again and raise, has seen it.
    Whatever fails, what was at ``path`` before is still there, and nothing else is left.

    Raises:
        OutputUnwritable: if the disk is full, or whatever else the system has against it.
    """
    if _is_device(path):
        with _in_words(path):
            yield path
        return
    target = path.resolve()
    aside = _aside(target)
    try:
        with _in_words(path):
            yield aside
            flush(aside)
            if check is not None:
                check(aside)
            if target.exists():
                shutil.copymode(target, aside)
            aside.replace(target)
            flush(target.parent)
    finally:
        with suppress(OSError):
            aside.unlink()


class ForgivingFile(io.FileIO):
    """A file for a library that does not survive a write that fails: it sees none fail.

    HDF5 ends the process when the disk is full. Here the first error is kept, and what follows is
    dropped, until somebody asks.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._error: OSError | None = None

    def require_room(self) -> None:
        """Return if everything was written.

        Raises:
            OSError: the first one that there was.
        """
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        """All of ``data``, or the first error is kept."""
        view = memoryview(data).cast("B")
        size = len(view)
        while len(view) and self._error is None:
            try:
                written = super().write(view)
            except OSError as error:
                self._error = error
            else:
                view = view[written or 0 :]
        return size

    def truncate(self, size: int | None = None) -> int:
        """To ``size`` bytes, or the first error is kept."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0


def write_text(path: Path, text: str) -> None:
    """Put ``text`` at ``path``, whole or not at all.

    Raises:
        OutputUnwritable: as ``replacing``.
    """
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def unwritable(path: Path, error: OSError) -> OutputUnwritable:
    """What the system said, as an error with a next step."""
    why = error.strerror or str(error) or type(error).__name__
    return OutputUnwritable(
        f"{path} cannot be written ({why})",
        expected="a place with room, where you may write",
        action=_ACTIONS.get(error.errno or 0, "choose another place"),
    )


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def _is_device(path: Path) -> bool:
    """A pipe or a device, such as /dev/stdout, is written to as it is."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _aside(path: Path) -> Path:
    # Names may have 255 bytes; what is long enough to be recognised is short enough here.
    return path.with_name(f".{path.name[:60]}.{os.getpid()}.tmp")
