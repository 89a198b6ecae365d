"""Folders for what clients sent: their molecules are nobody else's business."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["make_private"]


def make_private(folder: Path) -> None:
    """Make ``folder`` if need be, for this user alone.

    Raises:
        OSError: if that is not possible, or if it is there and others can look into it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # What a link leads to is what counts.
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PermissionError(
            f"{folder} belongs to user {status.st_uid} with mode "
            f"{stat.S_IMODE(status.st_mode):o}; expected a folder of this user with mode 700, "
            "since it holds the structures of others; chmod it, or set another"
        )
