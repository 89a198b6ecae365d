"""Molecules shared out to training, validation and test, by a hash of who they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from rdkit import Chem, rdBase

from forcegate_client.dataset import Dataset, MoleculeTable, Split
from forcegate_trainer.errors import SettingsError

__all__ = [
    "COMMON_HEAVY_ATOMS",
    "DEFAULT_SHARES",
    "Shares",
    "keys_to_hold_apart",
    "split_molecules",
    "split_of",
    "trained_when_common",
]

# Molecules of so few heavy atoms are always trained on. Each is a functional group of its own, and
# the solvent or partner of many others: a student that had never met ammonia, and took each for a
# seventh of an ammonium ion, was 0.8 eV off for every one in a cluster.
COMMON_HEAVY_ATOMS = 2


@dataclass(frozen=True)
class Shares:
    """Shares of the molecules that are held out."""

    validation: float = 0.04
    test: float = 0.04

    def __post_init__(self) -> None:
        if not (self.validation >= 0 and self.test >= 0 and self.validation + self.test < 1):
            raise SettingsError(
                f"received shares of {self.validation} and {self.test} for validation and test; "
                "expected both from 0 on, and less than 1 together"
            )


DEFAULT_SHARES = Shares()


def split_of(split_key: str, seed: int, shares: Shares = DEFAULT_SHARES) -> Split:
    """A split that does not depend on which other molecules there are: a hash of key and seed."""
    fraction = _fraction(split_key, seed)
    if fraction < shares.validation:
        return Split.VALIDATION
    return Split.TEST if fraction < shares.validation + shares.test else Split.TRAIN


def split_molecules(keys: Sequence[str], seed: int, shares: Shares) -> list[Split]:
    """The split of each molecule; the same key is always in the same split.

    Where the shares would leave validation empty although there are two molecules or more, the one
    with the smallest hash is held out for it: nothing can be fitted without.
    """
    split = {key: split_of(key, seed, shares) for key in keys}
    if shares.validation and len(split) > 1 and Split.VALIDATION not in split.values():
        split[min(split, key=lambda key: _fraction(key, seed))] = Split.VALIDATION
    return [split[key] for key in keys]


def _fraction(key: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}|{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


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
