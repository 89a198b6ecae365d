"""Where a long run goes on after an interruption: one file of arrays, replaced as a whole."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Arrays", "SavedRun"]

Arrays = dict[str, npt.NDArray[Any]]

_IDENTITY = "identity"
_EVERY_S = 60.0


class SavedRun:
    """The state of the one run that ``identity`` describes; the file of another is not read.

    ``identity`` must name everything that decides how the run goes, as JSON.
    """

    def __init__(
        self, path: Path, identity: Mapping[str, Any], *, every_s: float = _EVERY_S
    ) -> None:
        text = json.dumps(identity, sort_keys=True)
        self._path = path
        self._identity = hashlib.sha256(text.encode()).hexdigest()
        self._every_s = every_s
        self._saved_at = time.monotonic()

    def load(self) -> Arrays | None:
        """What was saved of this very run, if anything."""
        try:
            with self._path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            # Nothing was saved, or what was is damaged: the run begins again.
            return None
        identity = arrays.pop(_IDENTITY, None)
        return arrays if identity is not None and str(identity) == self._identity else None

    def save(self, state: Callable[[], Arrays], *, now: bool = False) -> None:
        """Save ``state()``, if the last time is long enough ago, or ``now``."""
        if not now and time.monotonic() < self._saved_at + self._every_s:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_suffix(".new")
        arrays: dict[str, Any] = {_IDENTITY: np.array(self._identity), **state()}
        with aside.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._path)
        self._saved_at = time.monotonic()
