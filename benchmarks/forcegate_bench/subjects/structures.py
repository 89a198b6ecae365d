"""What is evaluated: organic molecules from SMILES, and periodic boxes of water."""

from __future__ import annotations

from functools import cache

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from forcegate_client.structures import StructureBatch
from forcegate_trainer.validation.molecules import molecule_from_smiles

__all__ = ["BOXES", "ORGANIC", "Shaken", "structure", "water_box"]

_ALANINE = "N[C@@H](C)C(=O)"
ORGANIC = {
    "glycine (10 atoms)": "NCC(=O)O",
    "aspirin (21 atoms)": "CC(=O)Oc1ccccc1C(=O)O",
    "Ser-Phe-Val (50 atoms)": "N[C@@H](CO)C(=O)N[C@@H](Cc1ccccc1)C(=O)N[C@@H](C(C)C)C(=O)O",
    "Ac-Ala9-NHMe (102 atoms)": f"CC(=O){9 * _ALANINE}NC",
    "cyclo-TPVLFVN (113 atoms)": (
        "N9[C@@H]([C@@H](C)O)C(=O)N1CCC[C@H]1C(=O)N[C@@H](C(C)C)C(=O)N[C@@H](CC(C)C)C(=O)"
        "N[C@@H](Cc1ccccc1)C(=O)N[C@@H](C(C)C)C(=O)N[C@@H](CC(N)=O)C9(=O)"
    ),
}
# Molecules of water in a box.
BOXES = {
    "water box (9 atoms)": 3,
    "water box (24 atoms)": 8,
    "water box (81 atoms)": 27,
    "water box (192 atoms)": 64,
    "water box (375 atoms)": 125,
    "water box (648 atoms)": 216,
    "water box (999 atoms)": 333,
}
_SHAKE = 0.01  # Å; about what a step of dynamics moves an atom
_WATER_PER_A3 = 0.0334  # 0.997 g/cm³
_OH, _HOH = 0.9572, np.deg2rad(104.52)


@cache
def structure(name: str) -> Atoms:
    """One of ``ORGANIC`` or ``BOXES``; not to be changed."""
    if name in BOXES:
        return water_box(BOXES[name])
    return molecule_from_smiles(ORGANIC[name])


def water_box(n_molecules: int, seed: int = 0) -> Atoms:
    """A periodic cube of liquid density: molecules on a lattice, each turned at random."""
    rng = np.random.default_rng(seed)
    length = (n_molecules / _WATER_PER_A3) ** (1 / 3)
    per_side = int(np.ceil(round(n_molecules ** (1 / 3), 6)))
    sites = np.stack(np.meshgrid(*[np.arange(per_side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    # Empty sites are spread over the box, so that the density is the same everywhere.
    occupied = sites[np.linspace(0, len(sites) - 1, n_molecules).round().astype(int)]
    half = _HOH / 2
    water = _OH * np.array(
        [[0, 0, 0], [np.sin(half), 0, np.cos(half)], [-np.sin(half), 0, np.cos(half)]]
    )
    turns = Rotation.random(n_molecules, rng=rng).as_matrix()
    oxygen = (occupied + 0.5) * (length / per_side)
    positions = oxygen[:, None, :] + np.einsum("mij,aj->mai", turns, water)
    return Atoms(
        ["O", "H", "H"] * n_molecules, positions.reshape(-1, 3), cell=[length] * 3, pbc=True
    )


class Shaken:
    """An endless supply of a structure whose atoms stand elsewhere every time."""

    def __init__(self, name: str, copies: int = 1, seed: int = 0) -> None:
        self.atoms = structure(name)
        self.batch = StructureBatch.from_atoms([self.atoms] * copies)
        self._rng = np.random.default_rng(seed)

    def next_batch(self) -> StructureBatch:
        """All copies, each moved differently."""
        moved = self.batch.positions + self._noise(self.batch.positions.shape)
        return StructureBatch(**{**self.batch.__dict__, "positions": moved})

    def next_atoms(self) -> Atoms:
        """One ASE structure."""
        atoms = self.atoms.copy()
        atoms.positions += self._noise(atoms.positions.shape)
        return atoms

    def _noise(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._rng.normal(scale=_SHAKE, size=shape)
