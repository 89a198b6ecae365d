"""The bonds of many molecules side by side, by the rules of ``forcegate_client.md.bonds``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import covalent_radii

from forcegate_client.md.bonds import BONDED, BROKEN, FORMED
from forcegate_trainer.simulation.motion import Motion

__all__ = ["TORN", "BondWatch"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Pair = tuple[int, int]

# Length over the sum of covalent radii beyond which a molecule has come apart; ``MDMonitor``'s.
TORN = 2.0


@dataclass(frozen=True)
class _Pairs:
    """All pairs i < j of one molecule, what their radii add up to, and which are bonded.

    ``hydrogen`` [N] is of atoms.
    """

    first: Int
    second: Int
    radii: Float
    bonded: Bool
    hydrogen: Bool


class BondWatch:
    """Notes when bonds of open molecules break (beyond 1.6 × the radii) or form (within 1.15 ×).

    ``broken`` and ``formed`` hold the pairs of each member, ``changed_ps`` the time at which the
    first of them was seen, NaN if none was.
    """

    def __init__(self, structures: Sequence[Atoms]) -> None:
        self._pairs = [_pairs(atoms) for atoms in structures]
        self.broken: list[set[Pair]] = [set() for _ in structures]
        self.formed: list[set[Pair]] = [set() for _ in structures]
        self.changed_ps = np.full(len(structures), np.nan)

    def look(self, motion: Motion, time_ps: float) -> Bool:
        """Note what changed at ``time_ps``; which molecules of ``motion`` [B] are torn apart.

        One whose hydrogen another atom has taken over is not: its bond is broken, no more.
        """
        pairs = [self._pairs[member] for member in motion.members.tolist()]
        counts = np.array([len(part.radii) for part in pairs])
        shift = np.repeat(motion.batch.offsets[:-1], counts)
        first = np.concatenate([part.first for part in pairs]) + shift
        second = np.concatenate([part.second for part in pairs]) + shift
        positions = motion.batch.positions
        length = np.linalg.norm(positions[first] - positions[second], axis=1)
        ratio = length / np.concatenate([part.radii for part in pairs])
        bonded = np.concatenate([part.bonded for part in pairs])
        owner = np.repeat(np.arange(len(pairs)), counts)
        broken = bonded & (ratio > BROKEN)
        formed = ~bonded & (ratio < FORMED)
        for index in np.flatnonzero(broken | formed).tolist():
            row = int(owner[index])
            member = int(motion.members[row])
            pair = (int(first[index] - shift[index]), int(second[index] - shift[index]))
            (self.broken if broken[index] else self.formed)[member].add(pair)
            if np.isnan(self.changed_ps[member]):
                self.changed_ps[member] = time_ps
        torn = np.zeros(len(pairs), dtype=np.bool_)
        near = ratio < BONDED
        moved = np.zeros(len(positions), dtype=np.bool_)
        moved[first[near]] = moved[second[near]] = True
        moved &= np.concatenate([part.hydrogen for part in pairs])
        torn[owner[bonded & (ratio > TORN) & ~moved[first] & ~moved[second]]] = True
        return torn


def _pairs(atoms: Atoms) -> _Pairs:
    first, second = np.triu_indices(len(atoms), k=1)
    radii = covalent_radii[atoms.numbers]
    total = radii[first] + radii[second]
    length = np.linalg.norm(atoms.positions[first] - atoms.positions[second], axis=1)
    return _Pairs(first, second, total, length < BONDED * total, atoms.numbers == 1)
