"""Structures of like size in rectangular arrays, for networks that take nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import StructureBatch

__all__ = ["Padded", "batches", "pad"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

# Pairs of atoms in a batch: arrays of pairs should stay in a processor's cache.
_PAIRS = 16_000


@dataclass(frozen=True)
class Padded:
    """``b`` structures of up to ``n`` atoms; the atomic number of what is missing is 0.

    ``n_atoms`` [b], ``atomic_numbers`` [b, n], ``positions`` [b, n, 3] in Å, ``charges`` [b] in e.
    """

    n_atoms: Int
    atomic_numbers: Int
    positions: Float
    charges: Int


def batches(n_atoms: Int, rows: Int) -> Iterator[Int]:
    """``rows`` in batches, by size; which rows share a batch depends on their sizes alone."""
    order = rows[np.argsort(n_atoms[rows], kind="stable")[::-1]]
    start = 0
    while start < len(order):
        size = max(1, _PAIRS // max(1, int(n_atoms[order[start]])) ** 2)
        yield order[start : start + size]
        start += size


def pad(structures: StructureBatch, rows: Int) -> Padded:
    """The structures of ``rows``, filled up to the largest of them."""
    counts = structures.n_atoms[rows]
    shape = (len(rows), int(counts.max()))
    numbers, positions = np.zeros(shape, dtype=np.int64), np.zeros((*shape, 3))
    bounds = structures.offsets
    for place, row in enumerate(rows.tolist()):
        where = slice(bounds[row], bounds[row + 1])
        numbers[place, : counts[place]] = structures.atomic_numbers[where]
        positions[place, : counts[place]] = structures.positions[where]
    return Padded(counts, numbers, positions, structures.charges[rows])
