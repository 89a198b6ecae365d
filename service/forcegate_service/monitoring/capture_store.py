"""Captured structures on the disk, in the training schema: a folder of small complete datasets.

No file is changed in place. Structures join the newest part until that has ``_PART`` of them: it is
written again under another name and renamed over itself, so a reader, or the next life after
``kill -9``, sees it before or after.

The gateway knows no molecules, only atoms. So the molecule table has one row a composition, whose
``smiles`` and ``split_key`` begin with ``UNIDENTIFIED``, in the split ``test``: nothing that trains
takes such frames, until ``forcegate-train label --from-capture`` finds out whose they are.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forcegate_client.atomic_write import TEMPORARY_FILES
from forcegate_client.dataset import (
    Dataset,
    DatasetError,
    Frame,
    MoleculeTable,
    Source,
    Split,
    concatenate,
    from_frames,
    load_dataset,
    write_dataset,
)
from forcegate_service.monitoring.capture_metrics import CaptureDropReason
from forcegate_service.monitoring.fingerprint import composition, fingerprint
from forcegate_service.monitoring.private_folder import make_private

__all__ = ["UNIDENTIFIED", "CaptureStore", "Captured"]

UNIDENTIFIED = "unidentified:"

_PART = 64
# One trajectory that left the known must not fill the store with itself.
_OF_A_COMPOSITION = 100
# What a file needs before its first frame, and an atom in it at most.
_BYTES_OF_A_PART = 49_152
_BYTES_OF_A_FRAME = 512
_BYTES_OF_AN_ATOM = 16
# The format's whole numbers end at twice that.
_FURTHEST_A = 1e5


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A structure (``positions`` [n, 3] in Å) and why it is kept (JSON values)."""

    atomic_numbers: npt.NDArray[np.int64]
    positions: npt.NDArray[np.float64]
    why: Mapping[str, Any]


class CaptureStore:
    """Keeps up to ``max_structures``, in ``max_bytes``, each geometry once; used by one thread."""

    def __init__(self, folder: Path, max_structures: int, max_bytes: int) -> None:
        self.folder = folder
        self._max_structures = max_structures
        self._max_bytes = max_bytes
        self._opened = False
        self._known: set[str] = set()
        self._compositions: Counter[str] = Counter()
        self._sizes: dict[Path, int] = {}
        self._part: tuple[Path, Dataset] | None = None

    def __len__(self) -> int:
        return self._compositions.total()

    def open(self) -> list[DatasetError]:
        """Make the folder, private, and read what is in it; returns what cannot be read.

        Raises:
            OSError: if the folder cannot be used.
        """
        make_private(self.folder)
        for leftover in self.folder.glob(TEMPORARY_FILES):
            leftover.unlink(missing_ok=True)
        troubles = []
        for path in sorted(self.folder.glob("*.h5")):
            self._sizes[path] = path.stat().st_size
            try:
                part = load_dataset(path)
            except DatasetError as error:
                troubles.append(error)
                continue
            self._remember(part)
            self._part = (path, part)
        self._opened = True
        return troubles

    def add(self, structures: Sequence[Captured]) -> list[CaptureDropReason | None]:
        """Keep structures; for each why it was not kept, None if it was.

        Raises:
            DatasetNotWrittenError: if nothing can be written; then none was kept.
            OSError: if the folder cannot be used.
        """
        if not self._opened:
            self.open()
        outcomes: list[CaptureDropReason | None] = []
        fresh: list[Captured] = []
        prints: set[str] = set()
        compositions: Counter[str] = Counter()
        size = sum(self._sizes.values()) + _BYTES_OF_A_PART
        for structure in structures:
            size += _BYTES_OF_A_FRAME + _BYTES_OF_AN_ATOM * len(structure.atomic_numbers)
            found = fingerprint(structure.atomic_numbers, structure.positions)
            formula = composition(structure.atomic_numbers)
            reason: CaptureDropReason | None = None
            if np.abs(structure.positions).max(initial=0.0) > _FURTHEST_A:
                reason = "too_large"
            elif found in self._known or found in prints:
                reason = "duplicate"
            elif self._compositions[formula] + compositions[formula] >= _OF_A_COMPOSITION:
                reason = "composition_full"
            elif len(self) + len(fresh) >= self._max_structures or size > self._max_bytes:
                reason = "full"
            else:
                why = {**structure.why, "fingerprint": found}
                fresh.append(replace(structure, why=why))
                prints.add(found)
                compositions[formula] += 1
            outcomes.append(reason)
        if fresh:
            self._write(fresh)
            self._known |= prints
            self._compositions += compositions
        return outcomes

    def _remember(self, part: Dataset) -> None:
        # Those of the structures as they came, which were rounded after.
        self._known |= {str(reason.get("fingerprint")) for reason in _reasons(part)}
        for frame in range(len(part)):
            self._compositions[composition(part.atomic_numbers[part.atoms_of(frame)])] += 1

    def _write(self, structures: Sequence[Captured]) -> None:
        more = _dataset(structures)
        if self._part is None or len(self._part[1]) + len(more) > _PART:
            path = self.folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}.h5"
        else:
            path, before = self._part
            more = replace(
                concatenate([before, more]), job=_job([*_reasons(before), *_reasons(more)])
            )
        write_dataset(path, more, 0o600)
        self._part = (path, more)
        with suppress(FileNotFoundError):
            self._sizes[path] = path.stat().st_size


def _dataset(structures: Sequence[Captured]) -> Dataset:
    names = [UNIDENTIFIED + composition(one.atomic_numbers) for one in structures]
    table = sorted(set(names))
    frames = [
        Frame(one.atomic_numbers, one.positions, table.index(name), Source.CAPTURED)
        for one, name in zip(structures, names, strict=True)
    ]
    molecules = MoleculeTable.closed_shell(
        table, [""] * len(table), table, [Split.TEST] * len(table)
    )
    return from_frames(frames, molecules, job=_job([one.why for one in structures]))


def _job(reasons: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {"command": "capture", "captured": [dict(reason) for reason in reasons]}


def _reasons(part: Dataset) -> list[Mapping[str, Any]]:
    return list(part.job.get("captured", []))
