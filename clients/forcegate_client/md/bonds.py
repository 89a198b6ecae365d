"""Which atoms are bonded, judged from covalent radii, and what broke or formed since the start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

__all__ = ["BondChanges", "Pair", "bond_changes", "bonded_pairs"]

# Distances over the sum of covalent radii. The three thresholds leave room for vibration: a bond
# of a hot molecule stretches beyond 1.25 for a moment without being broken.
BONDED = 1.25
BROKEN = 1.6
FORMED = 1.15

Pair = tuple[int, int]


@dataclass(frozen=True)
class BondChanges:
    """Pairs of atom indices, and the longest bond of the start over its sum of radii.

    A hydrogen that another atom has taken over has left no gap: its old bond is broken, and not
    counted as the longest.
    """

    broken: frozenset[Pair]
    formed: frozenset[Pair]
    longest_ratio: float

    def __bool__(self) -> bool:
        return bool(self.broken or self.formed)


def bonded_pairs(atoms: Atoms) -> frozenset[Pair]:
    """Pairs (i < j) closer than 1.25 × the sum of their covalent radii, through any image."""
    return frozenset(_ratios(atoms, BONDED))


def bond_changes(start: frozenset[Pair], atoms: Atoms, reach: float = BROKEN) -> BondChanges:
    """Bonds of ``start`` now beyond 1.6 ×, and new pairs within 1.15 × the sum of their radii.

    ``reach`` ≥ 1.6 is how far bonds are followed; beyond it ``longest_ratio`` is infinite.
    """
    ratios = _ratios(atoms, max(reach, BROKEN))
    lengths = {pair: ratios.get(pair, np.inf) for pair in start}
    held = {atom for pair, ratio in ratios.items() if ratio < BONDED for atom in pair}
    moved = {atom for atom in held if atoms.numbers[atom] == 1}
    return BondChanges(
        broken=frozenset(pair for pair, ratio in lengths.items() if ratio > BROKEN),
        formed=frozenset(
            pair for pair, ratio in ratios.items() if ratio < FORMED and pair not in start
        ),
        longest_ratio=max(
            (ratio for pair, ratio in lengths.items() if ratio < BROKEN or moved.isdisjoint(pair)),
            default=0.0,
        ),
    )


def _ratios(atoms: Atoms, factor: float) -> dict[Pair, float]:
    """The shortest distance of each pair over its sum of radii, up to ``factor``."""
    # Imported here because it brings scipy: tens of megabytes for whoever watches no dynamics.
    from ase.neighborlist import neighbor_list

    radii = covalent_radii[atoms.numbers]
    i, j, distance = neighbor_list("ijd", atoms, cutoff=list(factor * radii))
    ordered = i < j
    i, j, distance = i[ordered], j[ordered], distance[ordered]
    shortest: dict[Pair, float] = {}
    for a, b, ratio in zip(
        i.tolist(), j.tolist(), (distance / (radii[i] + radii[j])).tolist(), strict=True
    ):
        shortest[a, b] = min(ratio, shortest.get((a, b), np.inf))
    return shortest
