"""A folder for the temporary files of an inference process, which goes however the process ends.

Loaders of compiled code unpack it into the temporary folder, and whoever is killed cleans up
nothing. So each process gets a temporary folder of its own, which its gateway removes; what a
killed gateway leaves behind, the next one finds: nobody holds the lock on it any more.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Scratch"]

logger = logging.getLogger(__name__)

_PREFIX = "forcegate-inference-"


class Scratch:
    """A private folder in the system's temporary one; ``descriptors`` are for the process.

    The lock lasts for as long as the process or this one has them. Without a temporary folder that
    can be written, as on a full disk, there is none, and the process does without.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self.descriptors: tuple[int, ...] = ()
        try:
            root = Path(tempfile.gettempdir())
            _sweep(root)
            self._folder, descriptor = _made(root)
            self.descriptors = (descriptor,)
        except OSError as error:
            logger.warning("no temporary folder for the inference process: %s", error)

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """``given``, with this folder as that of temporary files."""
        return dict(given) if self._folder is None else {**given, "TMPDIR": str(self._folder)}

    def close(self) -> None:
        """Remove the folder; the process has ended."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = ()


def _made(root: Path) -> tuple[Path, int]:
    """A new folder and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        descriptor = _locked(folder, fcntl.LOCK_EX)
        # Another gateway may have swept it away before it was locked.
        if descriptor is not None and folder.exists():
            return folder, descriptor
        if descriptor is not None:
            os.close(descriptor)


def _sweep(root: Path) -> None:
    """Remove the folders of this user that no process holds."""
    for folder in root.glob(f"{_PREFIX}*"):
        descriptor = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if descriptor is not None:
            if os.fstat(descriptor).st_uid == os.geteuid():
                shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


def _locked(folder: Path, operation: int) -> int | None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, operation)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
