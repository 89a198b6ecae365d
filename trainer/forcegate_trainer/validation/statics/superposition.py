"""How far two geometries of one molecule are apart, once laid upon each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from rdkit import Chem
from rdkit.Chem import rdMolAlign

__all__ = ["heavy_atom_rmsd"]

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
