"""Which labels are not worth learning, and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from forcegate_trainer.teachers.interface import Answer

MAX_FORCE = 30.0  # eV/Å
MIN_GAP = 1.0  # eV
# A teacher that contradicts itself by more than this does not know: eV/Å, or that share of the
# largest force in the frame where it is more.
MAX_SPREAD = 0.3
MAX_SPREAD_SHARE = 0.15
# Two atoms count as bonded up to this multiple of the sum of their covalent radii. Thermal bonds
# reach about 1.2; deliberately stretched ones 1.6, and they are to be kept.
THERMAL_BOND_FACTOR = 1.35
STRETCHED_BOND_FACTOR = 1.85
HYDROGEN = 1


def drop_reason(
    atomic_numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    answer: Answer,
    fragments: int,
    bond_factor: float,
) -> str | None:
    """Why a labelled frame should be dropped; None if it should be kept.

    ``positions`` [n,3] in Å; ``fragments`` is the number of molecules there should be.
    """
    if not (np.isfinite(answer.energy) and np.all(np.isfinite(answer.forces))):
        return "not_finite"
    largest = np.linalg.norm(answer.forces, axis=1).max()
    if largest > MAX_FORCE:
        return "force_too_large"
    if answer.homo_lumo_gap is not None and answer.homo_lumo_gap < MIN_GAP:
        return "gap_too_small"
    spread = answer.force_spread
    if spread is not None and spread > max(MAX_SPREAD, MAX_SPREAD_SHARE * largest):
        return "spread_too_large"
    if count_fragments(bonds(atomic_numbers, positions, bond_factor)) > fragments:
        return "dissociated"
    return None


def bonds(
    atomic_numbers: NDArray[np.int64], positions: NDArray[np.float64], factor: float
) -> NDArray[np.bool_]:
    """Adjacency matrix [n,n]: closer than ``factor`` times the sum of covalent radii."""
    radii = covalent_radii[atomic_numbers]
    distances = np.linalg.norm(positions[:, None] - positions[None, :], axis=-1)
    adjacent: NDArray[np.bool_] = distances < factor * (radii[:, None] + radii[None, :])
    np.fill_diagonal(adjacent, False)
    return adjacent


def count_fragments(adjacent: NDArray[np.bool_]) -> int:
    """How many connected pieces a bond graph has."""
    reached = adjacent | np.eye(len(adjacent), dtype=np.bool_)
    for _ in range(int(np.ceil(np.log2(max(len(adjacent), 2))))):
        reached = (reached.astype(np.int64) @ reached.astype(np.int64)) > 0
    return len(np.unique(reached, axis=0))


def proton_moved(
    atomic_numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    bonded_pairs: Sequence[tuple[int, int]],
) -> bool:
    """Whether some hydrogen is closer (in covalent radii) to another atom than its own."""
    radii = covalent_radii[atomic_numbers]
    distances = np.linalg.norm(positions[:, None] - positions[None, :], axis=-1)
    scaled = distances / (radii[:, None] + radii[None, :])
    np.fill_diagonal(scaled, np.inf)
    # Another hydrogen is never the receiver: two of them pass close by each other all the time.
    scaled[:, atomic_numbers == HYDROGEN] = np.inf
    for pair in bonded_pairs:
        hydrogens = [atom for atom in pair if atomic_numbers[atom] == HYDROGEN]
        if len(hydrogens) == 1:
            hydrogen, owner = hydrogens[0], sum(pair) - hydrogens[0]
            if int(np.argmin(scaled[hydrogen])) != owner:
                return True
    return False
