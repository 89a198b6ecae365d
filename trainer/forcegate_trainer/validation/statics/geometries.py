"""How far geometries of one molecule are apart, and which of them are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import rdMolAlign

__all__ = ["distinct", "heavy_atom_rmsd"]

Float = npt.NDArray[np.float64]

# Two atoms can always be laid upon two: below this an RMSD of heavy atoms says nothing of shape.
_FEWEST_HEAVY_ATOMS = 3


def heavy_atom_rmsd(molecule: Chem.Mol, first: Float, second: Float) -> float | None:
    """RMSD (Å) of the heavy atoms after the best superposition; None for fewer than three.

    ``first`` and ``second`` [n, 3] in Å in the order of ``molecule``, hydrogens included.
    Equivalent atoms may change places: a flipped phenyl ring is the same geometry.
    """
    if molecule.GetNumHeavyAtoms() < _FEWEST_HEAVY_ATOMS:
        return None
    return float(rdMolAlign.GetBestRMS(_heavy(molecule, first), _heavy(molecule, second)))


def _heavy(molecule: Chem.Mol, positions: Float) -> Chem.Mol:
    whole = Chem.Mol(molecule)
    whole.RemoveAllConformers()
    conformer = Chem.Conformer(len(positions))
    for index, position in enumerate(positions.tolist()):
        conformer.SetAtomPosition(index, position)
    whole.AddConformer(conformer)
    return Chem.RemoveHs(whole)


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
