"""Captured structures on the disk, in the training schema: a folder of small complete datasets.

No file is changed in place. A structure that joins a part, or takes the place of another there,
has the part written again under another name and renamed over itself, so a reader, or the next
life after ``kill -9``, sees it before or after.

The gateway knows no molecules, only atoms. So the molecule table has one row a composition, whose
``smiles`` and ``split_key`` begin with ``UNIDENTIFIED``, in the split ``test``: nothing that trains
takes such frames, until ``forcegate-train label --from-capture`` finds out whose they are.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forcegate_client.dataset import (
    Dataset,
    DatasetCorruptError,
    DatasetError,
    Frame,
    MoleculeTable,
    Source,
    Split,
    from_frames,
    load_dataset,
    write_dataset,
)
from forcegate_client.writing.atomic import TEMPORARY_FILES
from forcegate_service.watch.capture.fingerprint import composition, fingerprint
from forcegate_service.watch.capture.metrics import CaptureDropReason
from forcegate_service.watch.capture.sample import CaptureSample, Kept, Placed
from forcegate_service.watch.disk import make_private

__all__ = ["UNIDENTIFIED", "Added", "CaptureStore", "Captured"]

UNIDENTIFIED = "unidentified:"

# The format's whole numbers end at twice that.
_FURTHEST_A = 1e5


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A structure (``positions`` [n, 3] in Å) and why it is kept (JSON values).

    ``why["caller"]`` is the id of the key with which it was sent.
    """

    atomic_numbers: npt.NDArray[np.int64]
    positions: npt.NDArray[np.float64]
    why: Mapping[str, Any]


@dataclass(slots=True)
class Added:
    """What became of structures: for each why it was not kept, None if it was.

    ``evicted`` has the ``why`` of those that gave way, ``troubles`` what went wrong.
    """

    outcomes: list[CaptureDropReason | None] = field(default_factory=list)
    evicted: list[Mapping[str, Any]] = field(default_factory=list)
    troubles: list[Exception] = field(default_factory=list)


class CaptureStore:
    """Keeps up to ``max_structures``, in ``max_bytes``, each geometry once; used by one thread.

    What is kept when there is not room for all, :class:`CaptureSample` decides; ``rng`` is its.
    """

    def __init__(
        self,
        folder: Path,
        max_structures: int,
        max_bytes: int,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.folder = folder
        self._max_structures = max_structures
        self._max_bytes = max_bytes
        self._rng = rng
        self._sample: CaptureSample | None = None

    def open(self) -> list[DatasetError]:
        """Make the folder, private, and read what is in it; returns what cannot be read.

        Raises:
            OSError: if the folder cannot be used.
        """
        self._sample = None
        make_private(self.folder)
        for leftover in self.folder.glob(TEMPORARY_FILES):
            leftover.unlink(missing_ok=True)
        troubles, unreadable, found = [], 0, {}
        for path in sorted(self.folder.glob("*.h5")):
            try:
                found[path.name] = [_kept(one) for one in _structures(load_dataset(path))]
            except DatasetError as error:
                troubles.append(error)
                unreadable += path.stat().st_size
        self._sample = CaptureSample(self._max_structures, self._max_bytes - unreadable, self._rng)
        for part, held in found.items():
            self._sample.restore(part, held)
        return troubles

    def add(self, structures: Sequence[Captured]) -> Added:
        """Keep structures, as far as room and the shares of other callers allow.

        Raises:
            OSError: if the folder cannot be used.
        """
        added = Added()
        if self._sample is None:
            added.troubles += self.open()
        assert self._sample is not None
        sample = self._sample
        for part in sample.parts:
            # Files that somebody has taken away make room.
            if not (self.folder / part).exists():
                sample.restore(part, [])
        before = {part: sample.of_part(part) for part in sample.parts}
        fresh: dict[str, dict[Kept, int]] = {}
        for number, structure in enumerate(structures):
            kept = _kept(structure)
            placed = _place(sample, kept, structure)
            if not isinstance(placed, Placed):
                added.outcomes.append(placed)
                continue
            added.outcomes.append(None)
            ours = fresh.setdefault(placed.part, {})
            ours[kept] = number
            if placed.instead_of in ours:
                added.outcomes[ours.pop(placed.instead_of)] = "full"
        for part, numbers in fresh.items():
            new = {kept: structures[number] for kept, number in numbers.items()}
            if not self._write(sample, part, before.get(part, []), new, added):
                for number in numbers.values():
                    added.outcomes[number] = "write_failed"
        return added

    def _write(
        self,
        sample: CaptureSample,
        part: str,
        before: Sequence[Kept],
        new: Mapping[Kept, Captured],
        added: Added,
    ) -> bool:
        """Write a part as ``sample`` has it now; its file holds ``before``. Whether that was done;
        if not, all is as it was.
        """
        held = sample.of_part(part)
        on_disk: dict[Kept, Captured] = {}
        if before:
            try:
                found = _structures(load_dataset(self.folder / part))
                on_disk = dict(zip(before, found, strict=True))
            except (DatasetError, ValueError) as error:
                # It was damaged or exchanged, and is left alone.
                added.troubles.append(_damaged(self.folder / part, error))
                sample.restore(part, [])
                part = _new_part()
                held = list(new)
        try:
            structures = [new.get(kept) or on_disk[kept] for kept in held]
            content = _dataset(structures, [kept.why for kept in held])
            write_dataset(self.folder / part, content, 0o600)
        except DatasetError as error:
            added.troubles.append(error)
            sample.restore(part, list(on_disk))
            return False
        sample.restore(part, held)
        added.evicted += [kept.why for kept in on_disk if kept not in held]
        return True


def _place(sample: CaptureSample, kept: Kept, structure: Captured) -> Placed | CaptureDropReason:
    if np.abs(structure.positions).max(initial=0.0) > _FURTHEST_A:
        return "too_large"
    if sample.knows(kept.fingerprint):
        return "duplicate"
    return sample.place(kept, _new_part())


def _kept(structure: Captured) -> Kept:
    why = dict(structure.why)
    if "fingerprint" not in why:
        # Of the structure as it came: on the disk it is rounded.
        why["fingerprint"] = fingerprint(structure.atomic_numbers, structure.positions)
    return Kept(
        caller=str(why.get("caller", "unknown")),
        composition=composition(structure.atomic_numbers),
        fingerprint=str(why["fingerprint"]),
        n_atoms=len(structure.atomic_numbers),
        why=why,
    )


def _new_part() -> str:
    return f"{time.time_ns():020d}-{secrets.token_hex(4)}.h5"


def _damaged(path: Path, error: Exception) -> DatasetError:
    if isinstance(error, DatasetError):
        return error
    return DatasetCorruptError(f"{path}: other structures than were written there")


def _structures(part: Dataset) -> list[Captured]:
    reasons = part.job.get("captured", [])
    return [
        Captured(part.atomic_numbers[where], part.positions[where], why)
        for where, why in zip(map(part.atoms_of, range(len(part))), reasons, strict=True)
    ]


def _dataset(structures: Sequence[Captured], reasons: Sequence[Mapping[str, Any]]) -> Dataset:
    names = [UNIDENTIFIED + composition(one.atomic_numbers) for one in structures]
    table = sorted(set(names))
    frames = [
        Frame(one.atomic_numbers, one.positions, table.index(name), Source.CAPTURED)
        for one, name in zip(structures, names, strict=True)
    ]
    molecules = MoleculeTable.closed_shell(
        table, [""] * len(table), table, [Split.TEST] * len(table)
    )
    job = {"command": "capture", "captured": [dict(reason) for reason in reasons]}
    return from_frames(frames, molecules, job=job)
