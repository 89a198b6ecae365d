"""The functional group that is held out, and which molecules have it."""

from __future__ import annotations

from collections.abc import Iterable

from rdkit import Chem, rdBase

from forcegate_client.dataset import MoleculeTable

__all__ = ["GROUP_NAME", "GROUP_SMARTS", "has_group", "keys_with_group", "parts_of"]

GROUP_NAME = "oxidised sulfur"
# Sulfur with four or six bonds: sulfoxides, sulfones, sulfonamides, sulfonates and their nitrogen
# relatives, and the same written with charges. Thiols, thioethers, thiophenes have two, and stay.
GROUP_SMARTS = "[$([#16;v4,v6]),$([#16;+1])]"


def has_group(smiles: str) -> bool:
    """Whether a molecule, or a part of it, has the group."""
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    # What RDKit cannot read is not known to be without it, and must not be trained on as such.
    return molecule is None or bool(molecule.HasSubstructMatch(Chem.MolFromSmarts(GROUP_SMARTS)))


def parts_of(joined: str) -> list[str]:
    """The monomers of a SMILES string or a split key; a molecule is its own."""
    return joined.split(".")


def keys_with_group(tables: Iterable[MoleculeTable]) -> frozenset[str]:
    """Split keys of all monomers that have the group, in any tautomer that a table names."""
    found: set[str] = set()
    for table in tables:
        for smiles, key in zip(table.smiles, table.split_key, strict=True):
            parts, keys = parts_of(smiles), parts_of(key)
            if len(parts) == len(keys):
                found |= {k for s, k in zip(parts, keys, strict=True) if has_group(s)}
            elif has_group(smiles):
                found |= set(keys)
    return frozenset(found)
