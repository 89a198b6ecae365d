"""Who is trained on, who is traffic, and who judges: by molecule, without leaks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forcegate_client.dataset import (
    Dataset,
    MoleculeTable,
    Source,
    Split,
    concatenate,
    load_dataset,
)
from forcegate_client.dataset.store import write_dataset
from forcegate_wheel.group import keys_with_group, parts_of

__all__ = [
    "Division",
    "divide",
    "load_division",
    "monomers",
    "neutral_organic",
    "save_division",
    "without",
]

# Of ordinary training molecules so many are traffic instead.
_LIVE_SHARE = 0.1
# H C N O F S Cl: what a student without charges knows.
_ORGANIC = (1, 6, 7, 8, 9, 16, 17)
# K; the molecules move from there as warm as clients let them.
_WARMEST = 500.0


@dataclass(frozen=True)
class Division:
    """Datasets that share no molecule, in no tautomer, except ``base``'s two splits in one file.

    ``base`` is what the first student is fitted to: training and validation molecules without the
    group. Traffic without it begins from ``ordinary``, two waves of traffic with it from ``first``
    and ``second``; all three are of the training split, so that what is captured may be trained
    on. ``test_ordinary`` and ``test_group`` judge; the latter is of validation and test molecules.
    """

    base: Dataset
    ordinary: Dataset
    first: Dataset
    second: Dataset
    test_ordinary: Dataset
    test_group: Dataset


def neutral_organic(dataset: Dataset) -> Dataset:
    """The frames without a net charge, of H C N O F S Cl alone."""
    strange = ~np.isin(dataset.atomic_numbers, _ORGANIC)
    n_strange = np.add.reduceat(strange.astype(np.int64), dataset.offsets[:-1])
    return dataset.select(np.flatnonzero((n_strange == 0) & (dataset.charge == 0)))


def divide(known: Dataset, test: Dataset, n_frames: int, seed: int) -> Division:
    """Divide the frames of ``known`` and ``test``; ``n_frames`` training frames at most.

    Traffic begins from what students' dynamics visited at up to 500 K, with the group or without,
    so that it differs in the group and in nothing else.
    """
    group = keys_with_group([known.molecules, test.molecules])

    def rows(table: MoleculeTable, told: Callable[[list[str]], bool]) -> npt.NDArray[np.bool_]:
        return np.array([told(parts_of(key)) for key in table.split_key], dtype=np.bool_)

    def any_in_group(keys: list[str]) -> bool:
        return any(key in group for key in keys)

    table = known.molecules
    grouped = rows(table, any_in_group)
    single = rows(table, lambda keys: len(keys) == 1)
    live = rows(table, lambda keys: any(_drawn(key, "live", seed) < _LIVE_SHARE for key in keys))
    early = rows(table, lambda keys: _drawn(keys[0], "wave", seed) < 0.5)
    train = table.split == Split.TRAIN
    validation = table.split == Split.VALIDATION

    def frames(chosen: npt.NDArray[np.bool_], calm: bool = False) -> npt.NDArray[np.int64]:
        here = chosen[known.molecule_id]
        if calm:
            here &= (known.source == Source.ON_POLICY) & (known.temperature <= _WARMEST)
        return np.flatnonzero(here)

    fitted = frames(train & ~grouped & ~live)
    if len(fitted) > n_frames:
        drawn = np.random.default_rng(seed).choice(fitted, n_frames, replace=False)
        fitted = np.sort(drawn)
    wave = train & grouped & single
    judged = rows(test.molecules, any_in_group)[test.molecule_id]
    held = [known.select(frames(validation & grouped)), test.select(np.flatnonzero(judged))]
    return Division(
        base=known.select(np.concatenate([fitted, frames(validation & ~grouped)])),
        ordinary=known.select(frames(train & ~grouped & live & single, calm=True)),
        first=known.select(frames(wave & early, calm=True)),
        second=known.select(frames(wave & ~early, calm=True)),
        test_ordinary=test.select(np.flatnonzero(~judged)),
        test_group=_joined(held),
    )


def monomers(dataset: Dataset) -> frozenset[str]:
    """The split keys of all monomers that a dataset has frames of."""
    keys = dataset.molecules.split_key
    return frozenset(part for key in keys for part in parts_of(key))


def without(dataset: Dataset, keys: frozenset[str]) -> Dataset:
    """The frames whose molecules, and their parts, are none of ``keys``."""
    kept = np.array(
        [keys.isdisjoint(parts_of(key)) for key in dataset.molecules.split_key], dtype=np.bool_
    )
    return dataset.select(np.flatnonzero(kept[dataset.molecule_id]))


def save_division(division: Division, folder: Path) -> None:
    """One file for each part."""
    for part in fields(Division):
        write_dataset(folder / f"{part.name}.h5", getattr(division, part.name))


def load_division(folder: Path) -> Division | None:
    """What was saved there; None unless it is all there."""
    paths = {part.name: folder / f"{part.name}.h5" for part in fields(Division)}
    if not all(path.is_file() for path in paths.values()):
        return None
    return Division(**{name: load_dataset(path) for name, path in paths.items()})


def _joined(parts: list[Dataset]) -> Dataset:
    return concatenate([part for part in parts if len(part)] or parts[:1])


def _drawn(key: str, purpose: str, seed: int) -> float:
    """A number from 0 to 1 that depends on a molecule and on nothing else of the data."""
    digest = hashlib.sha256(f"{purpose}|{seed}|{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
