"""Groups joined by a double bond that conjugates them: azo compounds, imines, stilbenes.

Turning such a bond is what these molecules are made for, and lists have few of them.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from rdkit import Chem, rdBase

from forcegate_trainer.data.molecules.generation import accepted, draw_new
from forcegate_trainer.data.molecules.groups import plain_group
from forcegate_trainer.data.molecules.identity import Molecule
from forcegate_trainer.data.molecules.mutation import substitute
from forcegate_trainer.errors import MoleculeError

__all__ = ["bridge"]

BRIDGES = {"N=N": 0.6, "C=N": 0.2, "C=C": 0.2}
# As SMILES whose first atom is bonded.
RINGS = (
    "c1ccccc1",
    "c1ccccn1",
    "c1cccnc1",
    "c1ccncc1",
    "c1cnccn1",
    "c1ccoc1",
    "c1cccs1",
    "c1ccc[nH]1",
    "c1ncc[nH]1",
    "c1nccs1",
    "c1cnn(C)c1",
    "c1ccc2ccccc2c1",
)
OTHERS = ("C", "CC", "C(C)C", "C(C)(C)C", "C(N)=O", "C(=O)OC", "C#N", "N(C)C", "C=C")
# Of molecules: one of the two groups is no ring.
ONE_RING = 0.3
SUBSTITUTIONS = 2
MAX_HEAVY_ATOMS = 20


def bridge(
    known: set[str],
    count: int,
    seed: int,
    on_progress: Callable[[int], None] = lambda found: None,
) -> list[Molecule]:
    """``count`` molecules of two groups, at least one of them a ring, and a double bond between.

    None has a split key in ``known``, or is a public test molecule. The same arguments give the
    same products. Whether the double bond is E or Z is left open, so conformers have both.

    Raises:
        MoleculeError: if there are not that many.
    """
    rng = np.random.default_rng((seed, 3))
    return draw_new(partial(_drawn, rng), known, count, "bridged molecules", on_progress)


def _drawn(rng: np.random.Generator) -> Molecule | None:
    """A random molecule; None if it is not acceptable."""
    middle = str(rng.choice(list(BRIDGES), p=list(BRIDGES.values())))
    others = OTHERS if rng.random() < ONE_RING else RINGS
    ring, other = RINGS[rng.integers(len(RINGS))], others[rng.integers(len(others))]
    mol = Chem.RWMol(Chem.MolFromSmiles(middle))
    for end, group in enumerate((ring, other)):
        first = mol.GetNumAtoms()
        mol.InsertMol(Chem.MolFromSmiles(group))
        mol.AddBond(end, first, Chem.BondType.SINGLE)
    try:
        with rdBase.BlockLogs():
            mol = Chem.RWMol(Chem.MolFromSmiles(Chem.MolToSmiles(mol)))
            Chem.Kekulize(mol, clearAromaticFlags=True)
            for _ in range(int(rng.integers(SUBSTITUTIONS + 1))):
                substitute(mol, rng, plain_group)
                Chem.SanitizeMol(mol)
                Chem.Kekulize(mol, clearAromaticFlags=True)
            Chem.SanitizeMol(mol)
            return accepted(mol, MAX_HEAVY_ATOMS)
    except (MoleculeError, Chem.MolSanitizeException, RuntimeError):
        return None
