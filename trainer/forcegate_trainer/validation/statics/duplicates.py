"""Which conformers of a molecule are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from ase import Atoms

__all__ = ["distinct"]

Float = npt.NDArray[np.float64]


def distinct(structures: Sequence[Atoms], tolerance: float) -> list[int]:
    """Indices of structures that are not mirror images or relabelled copies of an earlier one.

    Two of the same atoms count as one if their interatomic distances, sorted for each pair of
    elements, differ by less than ``tolerance`` (Å, RMS).
    """
    kept: list[int] = []
    prints: list[Float] = []
    for index, atoms in enumerate(structures):
        mark = _sorted_distances(atoms)
        if all(np.sqrt(np.mean((mark - known) ** 2)) >= tolerance for known in prints):
            kept.append(index)
            prints.append(mark)
    return kept


def _sorted_distances(atoms: Atoms) -> Float:
    first, second = np.triu_indices(len(atoms), 1)
    lengths = np.linalg.norm(atoms.positions[first] - atoms.positions[second], axis=1)
    low = np.minimum(atoms.numbers[first], atoms.numbers[second])
    high = np.maximum(atoms.numbers[first], atoms.numbers[second])
    return np.asarray(lengths[np.lexsort((lengths, high, low))])
