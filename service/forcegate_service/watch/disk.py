"""Troubles of the disk come by the thousand, and are told once."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Complaints", "make_private"]

logger = logging.getLogger(__name__)


class Complaints:
    """Logs what goes wrong, and then only what is new about it; ``what`` says what follows."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._said = ""

    def tell(self, error: Exception) -> None:
        """Log ``error`` unless it was the last one too."""
        # A file's random name makes every error of the system another text.
        cause = error.__cause__ or error
        said = f"{type(cause).__name__} {cause.errno}" if isinstance(cause, OSError) else str(error)
        if said != self._said:
            self._said = said
            logger.error("%s: %s", self._what, error)

    @contextmanager
    def about(self, *expected: type[Exception]) -> Iterator[None]:
        """Log what is ``expected``, and go on after the block."""
        try:
            yield
        except expected as error:
            self.tell(error)


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
