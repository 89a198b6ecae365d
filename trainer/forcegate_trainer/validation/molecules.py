"""The molecules that every subject is run with: public ones, and some of the test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from forcegate_client.dataset import Dataset, Split
from forcegate_trainer.data.molecules.exclusion import PUBLIC_TEST_MOLECULES
from forcegate_trainer.data.molecules.structures import conformers, hydrogenated, structure_of
from forcegate_trainer.data.sampling.clusters import put_together
from forcegate_trainer.data.sampling.distortions import rotatable_bonds
from forcegate_trainer.data.sampling.randomness import generator
from forcegate_trainer.errors import MoleculeError, SettingsError

__all__ = [
    "CHARGED",
    "PUBLIC",
    "SuiteMolecule",
    "charged_molecules",
    "flexible_molecules",
    "in_markdown",
    "molecule_from_smiles",
    "split_molecules",
    "suite_molecules",
]

# The last ones are kept out of training; the small ones may be in it: they are about dynamics.
PUBLIC = {
    "water": "O",
    "methane": "C",
    "alanine": "C[C@H](N)C(=O)O",
    **PUBLIC_TEST_MOLECULES,
}
# They are about dynamics too, whether they were trained on or not.
CHARGED = {
    "acetate": "CC(=O)[O-]",
    "dopamine's cation": "[NH3+]CCc1ccc(O)c(O)c1",
    "glycine zwitterion in three waters": "[NH3+]CC(=O)[O-].O.O.O",
    "bromhexine": "CN(Cc1cc(Br)cc(Br)c1N)C1CCCCC1",
}
_FEWEST_ATOMS, _MOST_ATOMS = 15, 60


@dataclass(frozen=True)
class SuiteMolecule:
    """A molecule of a suite and where it starts; molecules of the test split go by their SMILES."""

    name: str
    smiles: str
    atoms: Atoms
    in_test_split: bool


def molecule_from_smiles(smiles: str) -> Atoms:
    """One conformer with all hydrogens and its net charge, relaxed by a classical force field.

    Several molecules are put to each other by hydrogen bonds.

    Raises:
        MoleculeError: if no geometry can be found.
    """
    if "." in smiles:
        return put_together(smiles, generator(1, "validation suite", smiles))
    molecule = hydrogenated(smiles)
    return structure_of(molecule, conformers(molecule, 1, seed=1)[0])


def suite_molecules(
    names: Sequence[str], test_molecules: int, dataset: Dataset | None
) -> list[SuiteMolecule]:
    """Those of ``PUBLIC``, and ``test_molecules`` of the test split of a ``dataset``.

    Raises:
        SettingsError: if there is none of that name.
    """
    unknown = sorted(set(names) - set(PUBLIC))
    if unknown:
        raise SettingsError(f"received molecules {unknown}; expected some of {sorted(PUBLIC)}")
    found = [
        SuiteMolecule(name, PUBLIC[name], molecule_from_smiles(PUBLIC[name]), False)
        for name in names
    ]
    return found if dataset is None else found + split_molecules(dataset, test_molecules)


def charged_molecules(names: Sequence[str]) -> list[SuiteMolecule]:
    """Those of ``CHARGED``, in order.

    Raises:
        SettingsError: if there is none of that name.
    """
    unknown = sorted(set(names) - set(CHARGED))
    if unknown:
        raise SettingsError(f"received molecules {unknown}; expected some of {sorted(CHARGED)}")
    return [
        SuiteMolecule(name, CHARGED[name], molecule_from_smiles(CHARGED[name]), False)
        for name in names
    ]


def split_molecules(dataset: Dataset, count: int) -> list[SuiteMolecule]:
    """Up to ``count`` single molecules of the test split with 15 to 60 atoms, spread over sizes.

    The choice depends on nothing but the table of molecules and their sizes.
    """
    found = []
    for smiles in _spread(_fitting(dataset), count):
        try:
            found.append(SuiteMolecule(smiles, smiles, molecule_from_smiles(smiles), True))
        except MoleculeError:
            continue
    return found


def flexible_molecules(dataset: Dataset, count: int) -> list[str]:
    """SMILES of up to ``count`` such molecules with a bond to turn, spread over sizes."""
    return _spread([s for s in _fitting(dataset) if rotatable_bonds(hydrogenated(s))], count)


def _fitting(dataset: Dataset) -> list[str]:
    rows = np.flatnonzero(dataset.molecules.split == Split.TEST).tolist()
    sizes = dict(zip(dataset.molecule_id.tolist(), dataset.n_atoms.tolist(), strict=True))
    fitting = sorted(
        (sizes[row], dataset.molecules.smiles[row])
        for row in rows
        if row in sizes
        and "." not in dataset.molecules.smiles[row]
        and _FEWEST_ATOMS <= sizes[row] <= _MOST_ATOMS
    )
    return [smiles for _, smiles in fitting]


def _spread(smiles: Sequence[str], count: int) -> list[str]:
    wanted = np.unique(np.linspace(0, len(smiles) - 1, min(count, len(smiles))).round())
    return [smiles[index] for index in wanted.astype(int).tolist()]


def in_markdown(name: str) -> str:
    """A molecule's name in a report; SMILES would be taken for links where they are not code."""
    return name if name in PUBLIC or name in CHARGED else f"`{name}`"
