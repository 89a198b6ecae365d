"""Fused, conjugated ring systems of any ring sizes: azulene's relatives.

Lists and what is made of them by recombination and edits keep the rings that chemists mostly draw,
of five and six atoms, mostly benzenoid. Others have their electrons elsewhere, and a student that
has met none of them does not know their forces.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
from rdkit import Chem, rdBase

from forcegate_trainer.data.molecules.generation import accepted, draw_new
from forcegate_trainer.data.molecules.groups import plain_group
from forcegate_trainer.data.molecules.identity import Molecule
from forcegate_trainer.data.molecules.mutation import substitute
from forcegate_trainer.errors import MoleculeError

__all__ = ["fuse"]

RINGS = {2: 0.65, 3: 0.35}
RING_SIZES = {4: 0.05, 5: 0.33, 6: 0.25, 7: 0.28, 8: 0.09}
MAX_HEAVY_ATOMS = 18
SUBSTITUTED = 0.5
# Of atoms in a double bond that belong to one ring alone.
NITROGEN = 0.1
# What stands at an atom without a double bond in the ring.
SATURATED = ("C", "N", "O", "S", "C=O")

Bond = tuple[int, int]


def fuse(
    known: set[str],
    count: int,
    seed: int,
    on_progress: Callable[[int], None] = lambda found: None,
) -> list[Molecule]:
    """``count`` molecules of two or three rings that share bonds, every atom conjugated but a few.

    None has a split key in ``known``, or is a public test molecule. The same arguments give the
    same products.

    Raises:
        MoleculeError: if there are not that many.
    """
    rng = np.random.default_rng((seed, 2))
    return draw_new(partial(_drawn, rng), known, count, "fused ring systems", on_progress)


def _drawn(rng: np.random.Generator) -> Molecule | None:
    """A random ring system; None if no acceptable molecule comes out."""
    sizes = rng.choice(
        list(RING_SIZES),
        size=rng.choice(list(RINGS), p=list(RINGS.values())),
        p=list(RING_SIZES.values()),
    )
    bonds = _skeleton([int(size) for size in sizes], rng)
    degree = np.bincount(np.array(bonds).ravel())
    edge = [int(atom) for atom in np.flatnonzero(degree == 2)]
    # Double bonds take atoms in pairs.
    n_saturated = int(len(degree) % 2) + 2 * int(rng.random() < 0.15)
    saturated = {int(atom) for atom in rng.choice(edge, size=n_saturated, replace=False)}
    double = _double_bonds(bonds, set(range(len(degree))) - saturated, rng)
    if double is None:
        return None
    mol = _molecule(bonds, double, saturated, edge, rng)
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(mol)
            if rng.random() < SUBSTITUTED:
                Chem.Kekulize(mol, clearAromaticFlags=True)
                substitute(mol, rng, plain_group)
                Chem.SanitizeMol(mol)
            return accepted(mol, MAX_HEAVY_ATOMS)
    except (MoleculeError, Chem.MolSanitizeException):
        return None


def _skeleton(sizes: list[int], rng: np.random.Generator) -> list[Bond]:
    """Bonds of rings, each of which shares one bond with those before it."""
    first = sizes[0]
    bonds = [(atom, (atom + 1) % first) for atom in range(first)]
    for size in sizes[1:]:
        degree = np.bincount(np.array(bonds).ravel())
        free = [(one, other) for one, other in bonds if degree[one] == degree[other] == 2]
        start, end = free[rng.integers(len(free))]
        path = [start, *range(len(degree), len(degree) + size - 2), end]
        bonds += list(pairwise(path))
    return bonds


def _double_bonds(bonds: list[Bond], atoms: set[int], rng: np.random.Generator) -> set[Bond] | None:
    """Bonds that hold each of ``atoms`` once, at random; None if there is no such choice."""
    if not atoms:
        return set()
    # The atom with the fewest partners first: so a dead end is seen at once.
    partners = {
        atom: [bond for bond in bonds if atom in bond and atoms.issuperset(bond)] for atom in atoms
    }
    tightest = min(atoms, key=lambda atom: (len(partners[atom]), atom))
    for index in rng.permutation(len(partners[tightest])):
        bond = partners[tightest][index]
        others = _double_bonds(bonds, atoms - set(bond), rng)
        if others is not None:
            return others | {bond}
    return None


def _molecule(
    bonds: list[Bond],
    double: set[Bond],
    saturated: set[int],
    edge: list[int],
    rng: np.random.Generator,
) -> Chem.RWMol:
    mol = Chem.RWMol()
    exocyclic = []
    for atom in range(max(map(max, bonds)) + 1):
        symbol = "C"
        if atom in saturated:
            symbol = SATURATED[rng.integers(len(SATURATED))]
        elif atom in edge and rng.random() < NITROGEN:
            symbol = "N"
        mol.AddAtom(Chem.Atom(symbol[0]))
        if symbol == "C=O":
            exocyclic.append(atom)
    for bond in bonds:
        mol.AddBond(*bond, Chem.BondType.DOUBLE if bond in double else Chem.BondType.SINGLE)
    for atom in exocyclic:
        mol.AddBond(atom, mol.AddAtom(Chem.Atom("O")), Chem.BondType.DOUBLE)
    return mol
