"""New molecules by small edits of known ones: other elements, groups and bond orders.

Recombined fragments repeat the bonds that the lists have. Edits make the ones that they lack.
"""

from collections.abc import Callable, Sequence

import numpy as np
from rdkit import Chem, rdBase

from forcegate_trainer.data.molecules.generation import CHARGED_SHARE, accepted, draw_new
from forcegate_trainer.data.molecules.groups import random_group
from forcegate_trainer.data.molecules.identity import Molecule
from forcegate_trainer.errors import MoleculeError

__all__ = ["mutate", "substitute"]

MOST_EDITS = 3
MAX_HEAVY_ATOMS = 50
# Elements that an atom may become, with their weights.
EXCHANGED = {6: 5, 7: 5, 8: 4, 9: 1, 14: 1, 15: 1.2, 16: 3, 17: 1, 35: 1, 53: 0.5, 5: 0.5}

Edit = Callable[[Chem.RWMol, np.random.Generator], bool]


def mutate(
    molecules: Sequence[Molecule],
    known: set[str],
    count: int,
    seed: int,
    on_progress: Callable[[int], None] = lambda found: None,
) -> list[Molecule]:
    """``count`` molecules one to three edits away from the given ones.

    None has a split key in ``known``, or that of a given or a public test molecule. The same
    arguments give the same products.

    Raises:
        MoleculeError: if the molecules do not allow that many.
    """
    rng = np.random.default_rng((seed, 1))

    def draw() -> Molecule | None:
        if not molecules:
            return None
        return _edited(molecules[int(rng.integers(len(molecules)))], rng)

    taken = known | {molecule.split_key for molecule in molecules}
    return draw_new(draw, taken, count, "mutated molecules", on_progress)


def _edited(molecule: Molecule, rng: np.random.Generator) -> Molecule | None:
    """The molecule after one to three edits; None if no acceptable molecule comes out."""
    if molecule.charge and rng.random() > CHARGED_SHARE:
        return None
    editable = Chem.RWMol(Chem.MolFromSmiles(molecule.smiles))
    edits: tuple[Edit, ...] = (substitute, substitute, _exchange, _exchange, _saturate, _shorten)
    try:
        with rdBase.BlockLogs():
            Chem.Kekulize(editable, clearAromaticFlags=True)
            for _ in range(int(rng.integers(1, MOST_EDITS + 1))):
                if not edits[rng.integers(len(edits))](editable, rng):
                    return None
                Chem.SanitizeMol(editable)
                Chem.Kekulize(editable, clearAromaticFlags=True)
            Chem.SanitizeMol(editable)
            # Stereochemistry of the original says nothing about the product.
            Chem.RemoveStereochemistry(editable)
            return accepted(editable, MAX_HEAVY_ATOMS)
    except (MoleculeError, Chem.MolSanitizeException, RuntimeError):
        return None


def _with_hydrogen(mol: Chem.RWMol) -> list[int]:
    return [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetTotalNumHs() > 0]


def substitute(
    mol: Chem.RWMol,
    rng: np.random.Generator,
    draw_group: Callable[[np.random.Generator], Chem.Mol] = random_group,
) -> bool:
    """Put a group in the place of a hydrogen; False if there is none."""
    candidates = _with_hydrogen(mol)
    if not candidates:
        return False
    site = candidates[rng.integers(len(candidates))]
    group = Chem.RWMol(draw_group(rng))
    Chem.Kekulize(group, clearAromaticFlags=True)
    first = mol.GetNumAtoms()
    mol.InsertMol(group)
    _forget_hydrogens(mol, first)
    mol.AddBond(site, first, Chem.BondType.SINGLE)
    _forget_hydrogens(mol, site)
    return True


def _exchange(mol: Chem.RWMol, rng: np.random.Generator) -> bool:
    """Make an atom another element; its hydrogens follow."""
    atom = mol.GetAtomWithIdx(int(rng.integers(mol.GetNumAtoms())))
    if atom.GetFormalCharge() or atom.GetAtomicNum() not in EXCHANGED:
        return False
    weights = np.array(list(EXCHANGED.values()), dtype=np.float64)
    atom.SetAtomicNum(int(rng.choice(list(EXCHANGED), p=weights / weights.sum())))
    _forget_hydrogens(mol, atom.GetIdx())
    return True


def _saturate(mol: Chem.RWMol, rng: np.random.Generator) -> bool:
    """Raise the order of a bond between two atoms with hydrogens, or lower it."""
    bond = mol.GetBondWithIdx(int(rng.integers(mol.GetNumBonds()))) if mol.GetNumBonds() else None
    if bond is None:
        return False
    ends = bond.GetBeginAtom(), bond.GetEndAtom()
    if bond.GetBondType() != Chem.BondType.SINGLE:
        bond.SetBondType(Chem.BondType.SINGLE)
    elif all(end.GetTotalNumHs() > 0 for end in ends):
        bond.SetBondType(Chem.BondType.DOUBLE)
    else:
        return False
    for end in ends:
        _forget_hydrogens(mol, end.GetIdx())
    return True


def _shorten(mol: Chem.RWMol, rng: np.random.Generator) -> bool:
    """Remove an atom at an end."""
    ends = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetDegree() == 1]
    if not ends or mol.GetNumAtoms() < 3:
        return False
    end = ends[rng.integers(len(ends))]
    kept = mol.GetAtomWithIdx(end).GetNeighbors()[0].GetIdx()
    _forget_hydrogens(mol, kept)
    mol.RemoveAtom(end)
    return True


def _forget_hydrogens(mol: Chem.RWMol, index: int) -> None:
    """Let the valence decide how many hydrogens an atom has."""
    atom = mol.GetAtomWithIdx(index)
    atom.SetNoImplicit(False)
    atom.SetNumExplicitHs(0)
