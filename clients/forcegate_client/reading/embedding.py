"""Coordinates for SMILES: a conformer of each fragment, and the fragments side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from forcegate_client.reading.molfile import atoms_of
from forcegate_client.reading.record import Parsed, RecordInvalid

__all__ = ["EMBEDDING", "embed"]

Float = npt.NDArray[np.float64]

_SEED = 61453
_STEPS = 500
_LONGEST_S = 60
# Directions in which the next fragment may lie: points of a Fibonacci sphere.
_DIRECTIONS = 64
EMBEDDING = (
    f"RDKit ETKDGv3 with seed {_SEED}, then MMFF94 for at most {_STEPS} steps; "
    "fragments in van der Waals contact"
)


def embed(smiles: str, label: str = "") -> Parsed:
    """The molecule with its hydrogens and one conformer, the same each time.

    Fragments of a salt or complex are embedded alone and then laid against each other: van der
    Waals surfaces touch, opposite charges as close as that allows.

    Raises:
        RecordInvalid: if it is no SMILES, or no coordinates are found for it.
    """
    rdBase.DisableLog("rdApp.*")
    label = label or smiles
    try:
        molecule = _molecule(smiles)
        fragments = Chem.GetMolFrags(molecule, asMols=True)
        if not all(map(_has_conformer, fragments)):
            raise RecordInvalid("embedding_failed", f"no coordinates found for {smiles[:200]!r}")
    except RecordInvalid as error:
        raise RecordInvalid(error.code, str(error), label=label, smiles=smiles) from error
    atoms = atoms_of(molecule, _side_by_side(fragments, Chem.GetMolFrags(molecule)))
    return Parsed(atoms, label, smiles)


def _molecule(smiles: str) -> Any:
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        raise RecordInvalid("smiles_invalid", f"RDKit cannot read the SMILES {smiles[:200]!r}")
    if any(not atom.GetAtomicNum() for atom in molecule.GetAtoms()):
        raise RecordInvalid("smiles_invalid", f"an atom of no element in {smiles[:200]!r}")
    return Chem.AddHs(molecule)


def _has_conformer(fragment: Any) -> bool:
    """Whether it has one now."""
    settings: Any = rdDistGeom.ETKDGv3()
    settings.randomSeed = _SEED
    settings.timeout = _LONGEST_S
    if rdDistGeom.EmbedMolecule(fragment, settings) != 0:
        settings.useRandomCoords = True
        if rdDistGeom.EmbedMolecule(fragment, settings) != 0:
            return False
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(fragment):
        rdForceFieldHelpers.MMFFOptimizeMolecule(fragment, maxIters=_STEPS)
    return True


def _side_by_side(fragments: Sequence[Any], places: Sequence[Sequence[int]]) -> Float:
    """Positions [N, 3] of all atoms; ``places`` say which atoms those of each fragment are."""
    table = Chem.GetPeriodicTable()
    positions = np.zeros((sum(map(len, places)), 3))
    radii, charges = np.zeros(len(positions)), np.zeros(len(positions))
    laid: list[int] = []
    for fragment, place in sorted(
        zip(fragments, places, strict=True), key=lambda pair: -len(pair[1])
    ):
        there = list(place)
        radii[there] = [table.GetRvdw(atom.GetAtomicNum()) for atom in fragment.GetAtoms()]
        charges[there] = [atom.GetFormalCharge() for atom in fragment.GetAtoms()]
        positions[there] = fragment.GetConformer().GetPositions()
        if laid:
            positions[there] += _shift(positions, radii, charges, laid, there)
        laid += there
    return positions


def _shift(
    positions: Float, radii: Float, charges: Float, laid: list[int], there: list[int]
) -> Float:
    """How far atoms ``there`` have to move to touch those that are ``laid``, and no further."""
    contact = radii[there][:, None] + radii[laid][None, :]
    product = charges[there][:, None] * charges[laid][None, :]
    best, shift = np.inf, np.zeros(3)
    for direction in _SPHERE:
        move = direction * _touching(positions[there], positions[laid], contact, direction)
        between = (positions[there] + move)[:, None, :] - positions[laid][None, :, :]
        distances = np.linalg.norm(between, axis=2)
        # Electrostatics first, then the closest packing; both are 1/Å.
        score = (product / distances).sum() - 1e-3 * (1.0 / distances).mean()
        if score < best:
            best, shift = score, move
    return shift


def _touching(moved: Float, fixed: Float, contact: Float, direction: Float) -> float:
    """The smallest move along ``direction`` beyond which no two atoms are closer than contact."""
    between = moved[:, None, :] - fixed[None, :, :]
    along = between @ direction
    across = (between * between).sum(axis=2) - along * along
    reach = contact * contact - across
    # Pairs that pass each other at a distance never touch.
    ends = np.sqrt(np.maximum(reach, 0.0)) - along
    return float(ends[reach > 0.0].max(initial=0.0))


def _sphere(size: int) -> Float:
    turn = np.arange(size) * np.pi * (3.0 - np.sqrt(5.0))
    z = 1.0 - 2.0 * (np.arange(size) + 0.5) / size
    r = np.sqrt(1.0 - z * z)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1)


_SPHERE = _sphere(_DIRECTIONS)
