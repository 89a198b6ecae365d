"""Files that are whole or not there, whatever happens to the process or to the disk.

A file is written under another name, flushed to the disk and then renamed over the old one, so a
reader sees the state before or the state after. If there is no room for it, the error says so, the
old file stays as it was, and nothing half-written is left behind.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["TEMPORARY_FILES", "flush", "write_atomically"]

# Matches what a process leaves behind that is killed while it writes.
TEMPORARY_FILES = ".*.tmp"

# A link in the way is not followed; not every system knows both.
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
_NEW_FILE |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def write_atomically(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Put ``content`` on the disk as ``path``; when this returns, it survives a loss of power.

    ``mode`` is that of the new file, less what the process's umask forbids.

    Raises:
        OSError: if it cannot be written, as on a full disk.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, _NEW_FILE, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        # What went wrong before matters more than a folder that takes no changes.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    flush(path.parent)


def flush(path: Path) -> None:
    """Have the operating system put a file, or the names in a folder, on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # A folder cannot be opened there, and its names need no flushing.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
