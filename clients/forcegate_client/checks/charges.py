"""What atomic charges tell: the net charge that a structure looks like, and its dipole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase.data import atomic_masses

from forcegate_client.errors import InvalidStructure
from forcegate_client.structures import StructureBatch

__all__ = ["MOST_MISSING", "dipoles", "mismatched", "net_charges"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

# e; by more, the charges of a structure are not those of the ion or molecule that it is said to be.
MOST_MISSING = 0.4


def net_charges(charges: Float, n_atoms: Int) -> Float:
    """[B] in e: the sums of ``charges`` [N] over structures, none of which is empty."""
    if not len(n_atoms):
        return np.zeros(0)
    sums: Float = np.add.reduceat(charges, np.cumsum(n_atoms) - n_atoms)
    return sums


def mismatched(charges: Float | None, n_atoms: Int, told: Int) -> dict[int, InvalidStructure]:
    """The structures that have another net charge than they were sent with, by index.

    A network sees bonds, and knows an ammonium or a carboxylate by them. ``charges`` [N] in e are
    those it answers with, if it knows any; ``told`` [B] are the net charges that the request names.
    """
    if charges is None:
        return {}
    found = net_charges(charges, n_atoms)
    # A sum that is not finite is another error.
    wrong = np.abs(found - told) > MOST_MISSING
    if not np.count_nonzero(wrong):
        return {}
    return {b: _error(int(told[b]), float(found[b])) for b in np.flatnonzero(wrong).tolist()}


def dipoles(charges: Float, structures: StructureBatch) -> Float:
    """[B, 3] in e·Å, about the centre of mass, of open structures with ``charges`` [N] in e.

    Of an ion it depends on that centre; of a molecule without net charge it does not.
    """
    first = structures.offsets[:-1]
    masses = atomic_masses[structures.atomic_numbers]
    if not len(first):
        return np.zeros((0, 3))
    weighted = np.add.reduceat(masses[:, None] * structures.positions, first)
    centres = weighted / np.add.reduceat(masses, first)[:, None]
    moment = np.add.reduceat(charges[:, None] * structures.positions, first)
    dipole: Float = moment - net_charges(charges, structures.n_atoms)[:, None] * centres
    return dipole


def _error(told: int, found: float) -> InvalidStructure:
    return InvalidStructure(
        f"charge {told:+d} for a structure whose atomic charges sum to {found:+.2f} e",
        expected=f"a charge within {MOST_MISSING:g} e of what the structure looks like, which is "
        f"{round(found):+d}",
        action=f"send charge {round(found)}, or correct its hydrogens; other structures are not "
        "affected",
        code="charge_mismatch",
    )
