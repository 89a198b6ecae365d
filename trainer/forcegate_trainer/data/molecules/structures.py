"""From SMILES to structures with all hydrogens, in an atom order that can be reproduced."""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from forcegate_trainer.errors import MoleculeError


def hydrogenated(smiles: str) -> Chem.Mol:
    """The molecule with explicit hydrogens; of ``A.B`` all atoms of A, then all atoms of B."""
    monomers = []
    for part in smiles.split("."):
        mol = Chem.MolFromSmiles(part)
        if mol is None:
            raise MoleculeError(f"received {part!r}, which is not a valid SMILES; correct it")
        monomers.append(Chem.AddHs(mol))
    whole = monomers[0]
    for monomer in monomers[1:]:
        whole = Chem.CombineMols(whole, monomer)
    Chem.SanitizeMol(whole)
    return whole


def structure_of(mol: Chem.Mol, positions: NDArray[np.float64]) -> Atoms:
    """The molecule at these positions [n,3] in Å, with its net charge where calculators look."""
    atoms = Atoms(atomic_numbers(mol), positions)
    charge = Chem.GetFormalCharge(mol)
    if charge:
        atoms.info["charge"] = charge
        atoms.set_initial_charges([charge, *[0] * (len(atoms) - 1)])
    return atoms


def atomic_numbers(mol: Chem.Mol) -> NDArray[np.int64]:
    """i64 [n]."""
    return np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64)


def bonded_pairs(mol: Chem.Mol) -> list[tuple[int, int]]:
    """Atom indices of every bond."""
    return [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]


def conformers(mol: Chem.Mol, count: int, seed: int) -> list[NDArray[np.float64]]:
    """Up to ``count`` relaxed conformers (ETKDG, then MMFF94 or UFF): positions f64 [n,3] in Å.

    Raises:
        MoleculeError: if no geometry can be found.
    """
    with rdBase.BlockLogs():
        mol = Chem.Mol(mol)
        found: list[int] = []
        for use_random_coordinates in (False, True):
            if not found:
                found = list(
                    rdDistGeom.EmbedMultipleConfs(
                        mol,
                        count,
                        randomSeed=seed,
                        pruneRmsThresh=0.3,
                        useRandomCoords=use_random_coordinates,
                    )
                )
        if not found:
            raise MoleculeError(f"no geometry was found for {Chem.MolToSmiles(mol)}; leave it out")
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
            rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(mol, numThreads=1, maxIters=300)
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
            rdForceFieldHelpers.UFFOptimizeMoleculeConfs(mol, numThreads=1, maxIters=300)
    return [np.array(mol.GetConformer(index).GetPositions()) for index in found]
