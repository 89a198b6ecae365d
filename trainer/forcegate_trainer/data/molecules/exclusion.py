"""Molecules that never enter training: the public test and the demo."""

from collections.abc import Iterable
from functools import cache

from rdkit import Chem, rdBase

from forcegate_trainer.data.molecules.identity import (
    Molecule,
    connectivity_block,
    tautomer_enumerator,
)

PUBLIC_TEST_MOLECULES = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "azobenzene": "c1ccc(cc1)N=Nc1ccccc1",
    "benzene": "c1ccccc1",
    "ethanol": "CCO",
    "malonaldehyde": "O=CCC=O",
    "naphthalene": "c1ccc2ccccc2c1",
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "salicylic acid": "OC(=O)c1ccccc1O",
    "toluene": "Cc1ccccc1",
    "uracil": "O=c1cc[nH]c(=O)[nH]1",
    "alanine dipeptide": "CC(=O)N[C@@H](C)C(=O)NC",
    "caffeine": "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "ibuprofen": "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
}


@cache
def excluded_blocks() -> dict[str, str]:
    """Connectivity blocks of the public test molecules and their tautomers, with names."""
    blocks: dict[str, str] = {}
    enumerator = tautomer_enumerator()
    with rdBase.BlockLogs():
        for name, smiles in PUBLIC_TEST_MOLECULES.items():
            mol = Chem.MolFromSmiles(smiles)
            for form in (mol, enumerator.Canonicalize(mol), *enumerator.Enumerate(mol)):
                blocks[connectivity_block(form)] = name
    return blocks


def public_test_name(molecule: Molecule) -> str | None:
    """Which public test molecule this is, in whatever tautomer or stereoisomer; None if none."""
    blocks = excluded_blocks()
    return blocks.get(molecule.split_key) or blocks.get(molecule.inchikey.partition("-")[0])


def without_public_test(molecules: Iterable[Molecule]) -> list[Molecule]:
    """The molecules that may be trained on, in their order."""
    return [molecule for molecule in molecules if public_test_name(molecule) is None]
