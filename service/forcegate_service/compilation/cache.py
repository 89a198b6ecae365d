"""The folder in which compiled packages are kept. What lies in it is code that the server runs."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from forcegate_client.atomic_write import write_atomically
from forcegate_service.card import PROGRAM_NAME, ModelCard, file_digest
from forcegate_service.errors import CompilationFailed

__all__ = ["Package", "PackageCache", "default_cache_dir"]

_KEPT = 16


def default_cache_dir() -> Path:
    """``forcegate`` in the folder where this system's users keep caches."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "forcegate"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forcegate"


@dataclass(frozen=True)
class Package:
    """A compiled package and the digest under which it was stored."""

    path: Path
    digest: str


class PackageCache:
    """Packages by key; a note beside each holds its digest, and without it there is none."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, made if need be.

        Raises:
            CompilationFailed: if it is not this user's alone.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # What a link leads to is what counts.
            home = folder.resolve()
            self.folder = home / "packages"
            self.folder.mkdir(mode=0o700, exist_ok=True)
            for path in (home, self.folder):
                _require_private(path)
        except OSError as error:
            raise CompilationFailed(
                f"the cache {folder}: {error.strerror}",
                expected="a folder that can be written",
                action="set FORCEGATE_CACHE_DIR",
            ) from error

    @staticmethod
    def key(card: ModelCard, build_id: str) -> str:
        """The name under which the package of a version is kept for one kind of machine."""
        described = [card.digest, card.files.get(PROGRAM_NAME), build_id]
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()

    def find(self, key: str) -> Package | None:
        """The package of ``key``; one that is damaged is thrown away."""
        path, note = self._path(key), self._note(key)
        try:
            digest = json.loads(note.read_text(encoding="utf-8"))["digest"]
            if file_digest(path) == digest:
                # The last use, by which the oldest are found; a cache may be read-only.
                with suppress(OSError):
                    os.utime(note)
                return Package(path, digest)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError):
            # Unreadable is as good as damaged.
            pass
        with suppress(OSError):
            note.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        return None

    def store(self, key: str, built: Path) -> Package:
        """Move ``built``, made in this cache's folder, to its place.

        Raises:
            CompilationFailed: if there is no room for the note beside it.
        """
        digest = file_digest(built)
        note = json.dumps({"digest": digest}) + "\n"
        try:
            built.chmod(0o600)
            built.replace(self._path(key))
            write_atomically(self._note(key), note.encode())
        except OSError as error:
            self._path(key).unlink(missing_ok=True)
            raise CompilationFailed(
                f"the cache {self.folder}: {error.strerror}",
                expected="room for a compiled model",
                action="make room, or set FORCEGATE_CACHE_DIR",
            ) from error
        self.clean(_KEPT)
        return Package(self._path(key), digest)

    @contextmanager
    def building(self, key: str) -> Iterator[Path]:
        """A folder for the files of one build; whoever else wants to build the same waits."""
        lock = os.open(self.folder / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Released by the system when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder = self.folder / f"{key}.build"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)

    def clean(self, keep: int = 0) -> int:
        """Throw away all packages but the ``keep`` that were used last; returns how many went."""
        notes = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        gone = notes[: max(0, len(notes) - keep)]
        for note in gone:
            note.unlink(missing_ok=True)
            self._path(note.stem).unlink(missing_ok=True)
        return len(gone)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.pt2"

    def _note(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def _require_private(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        received = "no folder"
    elif status.st_uid != os.geteuid():
        received = f"a folder of user {status.st_uid}"
    elif status.st_mode & 0o077:
        received = f"a folder of mode {stat.S_IMODE(status.st_mode):o}"
    else:
        return
    raise CompilationFailed(
        f"the cache {folder}: {received}",
        expected="a folder that only this user can read and write, since its files are run",
        action=f"chmod 700 {folder}, or set FORCEGATE_CACHE_DIR",
    )
