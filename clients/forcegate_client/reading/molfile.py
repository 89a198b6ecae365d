"""MOL, SDF (V2000 and V3000) and mol2 through RDKit; drawings are told from structures."""

from __future__ import annotations

import io
import re
from array import array
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import covalent_radii
from rdkit import Chem, rdBase

from forcegate_client.reading.indexed import pairs
from forcegate_client.reading.names import label_of, smiles_of
from forcegate_client.reading.record import Parsed, RecordInvalid

__all__ = ["atoms_of", "mol2_records", "parse_mol2", "parse_mol_block"]

Int = npt.NDArray[np.int64]

_FLAT = 1e-3
# Lengths of bonds as multiples of the sum of covalent radii; in drawings, hydrogens are as far
# away as everything else.
_BONDS = (0.7, 1.25)
# Never with four neighbours in a plane.
_TETRAHEDRAL = frozenset({5, 6, 7, 14, 15})
_TAG = re.compile(r"^> .*?<([^>]+)>.*\n(.*)", re.MULTILINE)
_PARTIAL = 0.05


def parse_mol_block(record: bytes) -> Parsed:
    """Atoms, coordinates, formal charges and radicals as they are written; nothing is added.

    Raises:
        RecordInvalid: if RDKit cannot read it, or it is a drawing.
    """
    rdBase.DisableLog("rdApp.*")
    text = record.decode("utf-8-sig", "replace").replace("\r\n", "\n")
    title, _, rest = text.partition("\n")
    tags = dict(_TAG.findall(text))
    label, smiles = title.strip() or label_of(tags), smiles_of(tags)
    try:
        molecule = Chem.MolFromMolBlock(text, sanitize=False, removeHs=False)
        if molecule is None:
            raise RecordInvalid("record_unreadable", "RDKit cannot read this MOL block")
        _require_structure(molecule, rest[20:22].upper())
    except RecordInvalid as error:
        raise RecordInvalid(error.code, str(error), label=label, smiles=smiles) from error
    atoms, remark = atoms_of(molecule), _remark(molecule)
    atoms.info |= {key: value.strip() for key, value in tags.items() if key not in atoms.info}
    return Parsed(atoms, label, smiles, remark)


def mol2_records(file: io.BufferedReader) -> Int:
    """Molecules of a mol2 file, each from ``@<TRIPOS>MOLECULE`` to the next."""
    bounds = array("q")
    position = 0
    begin: int | None = None
    for line in file:
        if line.startswith(b"@<TRIPOS>MOLECULE"):
            if begin is not None:
                bounds.extend((begin, position))
            begin = position
        position += len(line)
    if begin is not None:
        bounds.extend((begin, position))
    return pairs(bounds)


def parse_mol2(record: bytes) -> Parsed:
    """Atoms and coordinates; the charge is that of RDKit's reading of the atom types.

    Raises:
        RecordInvalid: if RDKit cannot read it, or the partial charges add up to another charge.
    """
    rdBase.DisableLog("rdApp.*")
    text = record.decode("utf-8", "replace").replace("\r\n", "\n")
    lines = text.split("\n")
    label = lines[1].strip() if len(lines) > 1 else ""
    molecule = Chem.MolFromMol2Block(text, sanitize=False, removeHs=False)
    if molecule is None:
        raise RecordInvalid("record_unreadable", "RDKit cannot read this mol2 record", label=label)
    try:
        _require_structure(molecule, "")
        _require_same_charge(molecule)
    except RecordInvalid as error:
        raise RecordInvalid(error.code, str(error), label=label) from error
    return Parsed(atoms_of(molecule), label, remark=_remark(molecule))


def atoms_of(molecule: Any, positions: npt.NDArray[np.float64] | None = None) -> Atoms:
    """An RDKit molecule as ASE has it; charge and radicals go into ``info``.

    ``positions`` [N, 3] in Å are those of its conformer unless they are given.
    """
    if positions is None:
        positions = np.array(molecule.GetConformer().GetPositions())
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    atoms = Atoms(numbers=numbers, positions=positions)
    if any(atom.GetIsotope() for atom in molecule.GetAtoms()):
        atoms.set_masses([atom.GetMass() for atom in molecule.GetAtoms()])
    charge = Chem.GetFormalCharge(molecule)
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    if charge:
        atoms.info["charge"] = charge
    if unpaired:
        atoms.info["multiplicity"] = 1 + unpaired
    return atoms


def _require_structure(molecule: Any, dimension: str) -> None:
    """No drawing.

    A record that is flat is a drawing if it says 2D, or if its bonds are not as long as bonds are;
    flat molecules are as long as they should be.
    """
    if not molecule.GetNumAtoms():
        raise RecordInvalid("record_unreadable", "no atoms")
    positions = np.array(molecule.GetConformer().GetPositions())
    flat = float(np.ptp(positions[:, 2])) < _FLAT
    if flat and (dimension == "2D" or not _has_lengths(molecule, positions)):
        raise RecordInvalid(
            "no_3d_coordinates",
            "a drawing instead of a structure; make coordinates, or give it as SMILES",
        )
    if flat and _missing_hydrogens(molecule):
        raise RecordInvalid(
            "no_3d_coordinates",
            "flat and without its hydrogens, a drawing; make coordinates, or give it as SMILES",
        )


def _has_lengths(molecule: Any, positions: npt.NDArray[np.float64]) -> bool:
    shortest, longest = _BONDS
    for bond in molecule.GetBonds():
        one, other = bond.GetBeginAtom(), bond.GetEndAtom()
        length = np.linalg.norm(positions[one.GetIdx()] - positions[other.GetIdx()])
        usual = covalent_radii[[one.GetAtomicNum(), other.GetAtomicNum()]].sum()
        if not shortest * usual <= length <= longest * usual:
            return False
    return not any(
        atom.GetAtomicNum() in _TETRAHEDRAL and atom.GetDegree() >= 4
        for atom in molecule.GetAtoms()
    )


def _remark(molecule: Any) -> str:
    """What is odd about a structure with three dimensions."""
    missing = _missing_hydrogens(molecule)
    if not missing:
        return ""
    return (
        f"{missing} hydrogens are missing by the bonds and charges of the record, and the result "
        "is that of the atoms that are there; add hydrogens, or mark radicals (M  RAD)"
    )


def _missing_hydrogens(molecule: Any) -> int:
    # Atoms without any bond in a record of several are a list of atoms, not a skeleton.
    if molecule.GetNumAtoms() > 1 and not molecule.GetNumBonds():
        return 0
    molecule.UpdatePropertyCache(strict=False)
    return sum(atom.GetTotalNumHs() for atom in molecule.GetAtoms())


def _require_same_charge(molecule: Any) -> None:
    partial = [
        float(atom.GetProp("_TriposPartialCharge"))
        for atom in molecule.GetAtoms()
        if atom.HasProp("_TriposPartialCharge")
    ]
    total, formal = sum(partial), Chem.GetFormalCharge(molecule)
    if any(partial) and abs(total - round(total)) < _PARTIAL and round(total) != formal:
        raise RecordInvalid(
            "charge_contradictory",
            f"partial charges that add up to {total:.3g} where the atom types say {formal}",
        )
