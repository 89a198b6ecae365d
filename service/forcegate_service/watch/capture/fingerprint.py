"""By which a geometry is known again, wherever it lies and however its atoms are numbered."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["composition", "fingerprint"]

_STEP = 0.1  # Å
# Bins begin at odd places, so that distances with few digits, as people type them, lie inside one
# and not at an edge, where the last bit would decide.
_OFFSET = 0.3717


def fingerprint(atomic_numbers: npt.NDArray[np.int64], positions: npt.NDArray[np.float64]) -> str:
    """SHA-256 (hex) of the composition and of all pairs' elements and distances in bins of 0.1 Å.

    The pairs are sorted, so moving, turning, mirroring and numbering change nothing; a mirror image
    has the same energy. ``positions`` [n, 3] in Å. Two geometries with one fingerprint differ by
    less than a bin in every distance; two that differ as little may have different ones.
    """
    first, second = np.triu_indices(len(atomic_numbers), 1)
    distances = np.linalg.norm(positions[first] - positions[second], axis=1)
    pairs = np.sort(atomic_numbers[np.stack([first, second])], axis=0)
    bins = np.floor(distances / _STEP + _OFFSET).astype(np.int64)
    order = np.lexsort((bins, pairs[1], pairs[0]))
    table = np.stack([pairs[0], pairs[1], bins])[:, order]
    numbers = np.sort(atomic_numbers).astype("<i8").tobytes()
    return hashlib.sha256(numbers + b"|" + table.astype("<i8").tobytes()).hexdigest()


def composition(atomic_numbers: npt.NDArray[np.int64]) -> str:
    """The formula, elements by their numbers: ``6:2 1:6 8:1`` as ``1x6.6x2.8x1``."""
    numbers, counts = np.unique(atomic_numbers, return_counts=True)
    pairs = zip(numbers.tolist(), counts.tolist(), strict=True)
    return ".".join(f"{number}x{count}" for number, count in pairs)
