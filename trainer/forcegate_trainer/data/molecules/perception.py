"""Which molecules a geometry is of. Nobody said; the distances have to tell."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds
from rdkit.Geometry import Point3D

from forcegate_trainer.data.molecules.identity import Molecule, identify
from forcegate_trainer.data.molecules.structures import atomic_numbers, hydrogenated
from forcegate_trainer.errors import MoleculeError

__all__ = ["Unperceived", "perceive", "unperceived"]

# Of bonds' orders; what needs more is no molecule that anybody would draw.
_MOST_ITERATIONS = 100_000


@dataclass(frozen=True)
class Unperceived:
    """A geometry without bond orders: all atoms that are close are joined by single bonds.

    ``smiles`` says that and no more, so it has radicals where there are none in truth;
    ``split_key`` is a hash of it.
    """

    smiles: str
    split_key: str


def perceive(
    numbers: npt.NDArray[np.int64], positions: npt.NDArray[np.float64], charge: int = 0
) -> list[Molecule]:
    """The closed-shell molecules, one for each piece, in the order of their SMILES.

    ``charge`` in e is that of all together; where there are several pieces nobody knows whose it
    is, so they have to be neutral.

    Raises:
        MoleculeError: if a piece is no such molecule, as when a bond is torn.
    """
    found = []
    pieces = list(_pieces(_connected(numbers, positions)))
    if charge and len(pieces) > 1:
        raise MoleculeError(f"received {len(pieces)} pieces with a charge of {charge:+d} together")
    for piece in pieces:
        with rdBase.BlockLogs():
            try:
                rdDetermineBonds.DetermineBondOrders(
                    piece, charge=charge, embedChiral=False, maxIterations=_MOST_ITERATIONS
                )
                smiles = Chem.MolToSmiles(Chem.RemoveHs(piece))
            # What RDKit raises here is of many classes, from ValueError to its own.
            except Exception as error:
                raise MoleculeError(f"received a geometry without bond orders ({error})") from error
        found.append(identify(smiles))
    found.sort(key=lambda molecule: molecule.smiles)
    _require_all_atoms(".".join(molecule.smiles for molecule in found), numbers)
    return found


def unperceived(numbers: npt.NDArray[np.int64], positions: npt.NDArray[np.float64]) -> Unperceived:
    """What can be said of a geometry all the same.

    Raises:
        MoleculeError: if it is in pieces, or an atom has more neighbours than any bonds could join.
    """
    mol = _connected(numbers, positions)
    if len(Chem.GetMolFrags(mol)) > 1:
        raise MoleculeError("received a geometry in pieces that are no molecules")
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(True)
    with rdBase.BlockLogs():
        try:
            Chem.SanitizeMol(mol)
            smiles = Chem.MolToSmiles(Chem.RemoveHs(mol))
        except Exception as error:
            raise MoleculeError(f"received a geometry of no valences ({error})") from error
    _require_all_atoms(smiles, numbers)
    digest = hashlib.sha256(smiles.encode()).hexdigest()[:16]
    return Unperceived(smiles, f"connectivity-{digest}")


def _connected(numbers: npt.NDArray[np.int64], positions: npt.NDArray[np.float64]) -> Chem.RWMol:
    mol = Chem.RWMol()
    conformer = Chem.Conformer(len(numbers))
    for row, (number, position) in enumerate(zip(numbers.tolist(), positions, strict=True)):
        mol.AddAtom(Chem.Atom(number))
        conformer.SetAtomPosition(row, Point3D(*map(float, position)))
    mol.AddConformer(conformer)
    with rdBase.BlockLogs():
        rdDetermineBonds.DetermineConnectivity(mol)
    return mol


def _pieces(mol: Chem.Mol) -> Iterator[Chem.Mol]:
    yield from Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False)


def _require_all_atoms(smiles: str, numbers: npt.NDArray[np.int64]) -> None:
    read = np.sort(atomic_numbers(hydrogenated(smiles)))
    if read.tolist() != np.sort(numbers).tolist():
        raise MoleculeError(f"received a geometry that is not all of {smiles}")
