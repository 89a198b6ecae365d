"""Molecules through RDKit: SDF records with their charges, SMILES with coordinates made up here."""

from __future__ import annotations

from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from forcegate_client.screening.sources.records import RecordInvalid
from forcegate_client.structures import StructureBatch

__all__ = ["EMBEDDING", "parse_mol_block", "parse_smiles"]

_SEED = 61453
_STEPS = 500
EMBEDDING = f"RDKit ETKDGv3 with seed {_SEED}, then MMFF94 for at most {_STEPS} steps"


def parse_mol_block(record: bytes) -> tuple[StructureBatch, str]:
    """Atoms, coordinates and formal charge as they are written; nothing is added or mended.

    Raises:
        RecordInvalid: if it cannot be read, or has no three-dimensional coordinates.
    """
    rdBase.DisableLog("rdApp.*")
    text = record.decode("utf-8", "replace")
    title = text.partition("\n")[0].strip()
    molecule = Chem.MolFromMolBlock(text, sanitize=False, removeHs=False)
    if molecule is None:
        raise RecordInvalid("record_unreadable", f"RDKit cannot read the SDF record {title!r}")
    if not molecule.GetNumAtoms():
        raise RecordInvalid("record_unreadable", f"no atoms in the SDF record {title!r}")
    if not molecule.GetConformer().Is3D():
        raise RecordInvalid(
            "no_3d_coordinates",
            f"a drawing instead of a structure in the SDF record {title!r}; "
            "make coordinates, or screen it as SMILES",
        )
    return _structure(molecule), title


def parse_smiles(record: bytes) -> tuple[StructureBatch, str]:
    """A line ``SMILES [name]``: hydrogens are added, coordinates made as ``EMBEDDING`` says.

    Raises:
        RecordInvalid: if it is no SMILES, or no coordinates are found for it.
    """
    rdBase.DisableLog("rdApp.*")
    smiles, _, name = record.decode("utf-8", "replace").strip().partition(" ")
    if "\t" in smiles:
        smiles, _, name = smiles.partition("\t")
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        raise RecordInvalid("smiles_invalid", f"RDKit cannot read the SMILES {smiles[:200]!r}")
    molecule = Chem.AddHs(molecule)
    settings: Any = rdDistGeom.ETKDGv3()
    settings.randomSeed = _SEED
    if rdDistGeom.EmbedMolecule(molecule, settings) != 0:
        settings.useRandomCoords = True
        if rdDistGeom.EmbedMolecule(molecule, settings) != 0:
            raise RecordInvalid("embedding_failed", f"no coordinates found for {smiles[:200]!r}")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=_STEPS)
    return _structure(molecule), name.strip() or smiles


def _structure(molecule: Any) -> StructureBatch:
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    return StructureBatch.from_arrays(
        n_atoms=[len(numbers)],
        atomic_numbers=numbers,
        positions=np.array(molecule.GetConformer().GetPositions()),
        charges=[Chem.GetFormalCharge(molecule)],
        multiplicities=[1 + unpaired],
    )
