"""Troubles of the disk come by the thousand, and are told once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Complaints"]

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
