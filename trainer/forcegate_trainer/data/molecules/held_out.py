"""Molecules that two splits must not share."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from rdkit import Chem, rdBase

from forcegate_client.dataset import Dataset, MoleculeTable, Split
from forcegate_trainer.data.molecules.splits import COMMON_HEAVY_ATOMS

__all__ = ["keys_to_hold_apart", "trained_when_common"]


def trained_when_common(dataset: Dataset) -> Dataset:
    """``dataset`` with the frames of common molecules alone in training, wherever a file has them.

    Files from before the rule have some of them in validation and test. Where nothing else is held
    out, as in frames of one's own of a small molecule, they stay.
    """
    table = dataset.molecules
    common = np.array([not keys_to_hold_apart(table, row) for row in range(len(table))], dtype=bool)
    moved = common & (table.split != Split.TRAIN)
    kept = set(table.split[~moved].tolist())
    if not moved.any() or not set(table.split.tolist()) <= kept:
        return dataset
    split = np.where(moved, Split.TRAIN, table.split).astype(table.split.dtype)
    return replace(dataset, molecules=replace(table, split=split))


def keys_to_hold_apart(table: MoleculeTable, row: int) -> list[str]:
    """Split keys of the molecules in ``row``, but for those that are trained on everywhere."""
    keys, parts = table.split_key[row].split("."), table.smiles[row].split(".")
    if len(keys) != len(parts):
        # Frames of one's own, which may have names that are no SMILES.
        return keys
    return [key for key, part in zip(keys, parts, strict=True) if not _is_common(part)]


@lru_cache(maxsize=65_536)
def _is_common(smiles: str) -> bool:
    """Whether a molecule is so small that it is trained on whatever its hash says."""
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        return False
    return molecule.GetNumHeavyAtoms() <= COMMON_HEAVY_ATOMS
