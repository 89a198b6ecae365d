"""What chemists call a molecule by its charges."""

from enum import StrEnum

from rdkit import Chem

from forcegate_trainer.data.molecules.identity import Molecule

__all__ = ["ChargeClass", "charge_class", "is_neutral_organic"]

# What students without charges know.
_ORGANIC = frozenset({"H", "C", "N", "O", "F", "S", "Cl"})


class ChargeClass(StrEnum):
    """What chemists call a molecule by its charges."""

    NEUTRAL = "neutral"
    CATION = "cation"
    ANION = "anion"
    ZWITTERION = "zwitterion"


def charge_class(mol: Chem.Mol) -> ChargeClass:
    """Net charge decides; without one, opposite charges that do not touch make a zwitterion.

    Those that touch are how nitro groups, N-oxides, azides and ylides are drawn.
    """
    net = Chem.GetFormalCharge(mol)
    if net:
        return ChargeClass.CATION if net > 0 else ChargeClass.ANION
    apart = any(
        atom.GetFormalCharge()
        and all(
            atom.GetFormalCharge() * neighbour.GetFormalCharge() >= 0
            for neighbour in atom.GetNeighbors()
        )
        for atom in mol.GetAtoms()
    )
    return ChargeClass.ZWITTERION if apart else ChargeClass.NEUTRAL


def is_neutral_organic(molecule: Molecule) -> bool:
    """Whether it is neutral, no zwitterion, and of H C N O F S Cl alone."""
    mol = Chem.MolFromSmiles(molecule.smiles)
    return charge_class(mol) == ChargeClass.NEUTRAL and all(
        atom.GetSymbol() in _ORGANIC for atom in mol.GetAtoms()
    )
