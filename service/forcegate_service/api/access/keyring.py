"""The keys in force: those of the file, which is looked at again while the server runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from forcegate_service.api.access.keyfile import KeyFileError, read_keys, stamp_of
from forcegate_service.api.access.keys import KeyRecord

__all__ = ["KeyRing"]

logger = logging.getLogger(__name__)

_PAUSE_S = 1.0


class KeyRing:
    """Records by id; a change of the file is seen by the first request a second later.

    ``complaint`` says what is wrong with the file now, if anything is.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the keys in ``path``.

        Raises:
            KeyFileError: if that is not possible.
        """
        self._path = path
        self._clock = clock
        self._looked_at = clock()
        self._records, self._stamp = read_keys(path)
        self.complaint = ""

    def find(self, key_id: str) -> KeyRecord | None:
        """The record of a key, which may be revoked."""
        now = self._clock()
        if now - self._looked_at >= _PAUSE_S:
            self._looked_at = now
            # A file that was not good is looked at until it is, or is again as it was.
            if self.complaint or stamp_of(self._path) != self._stamp:
                self.reload()
        return self._records.get(key_id)

    def reload(self) -> None:
        """Read the file now; if that fails, the keys stay as they are, and log and ``complaint``
        say why.
        """
        try:
            self._records, self._stamp = read_keys(self._path)
        except KeyFileError as error:
            # Tried again every second, but told once.
            if str(error) != self.complaint:
                logger.error("keys stay in force as they were: %s", error)
            self.complaint = str(error)
            return
        self.complaint = ""
        valid = sum(record.is_in_force for record in self._records.values())
        logger.info("%s was read again: %d keys in force", self._path, valid)
