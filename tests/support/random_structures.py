"""Random structures of every periodicity, with atoms where no chemistry would put them."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from forcegate_client.structures import StructureBatch


def open_molecule(rng: np.random.Generator, n_atoms: int) -> Atoms:
    return Atoms("C" * n_atoms, rng.uniform(0.0, 2.5 * n_atoms ** (1 / 3), (n_atoms, 3)))


def slab(rng: np.random.Generator, n_atoms: int) -> Atoms:
    """Periodic along two axes; the third cell vector is zero, as ASE's surfaces have it."""
    cell = np.zeros((3, 3))
    cell[:2, :2] = np.diag(rng.uniform(2.0, 8.0, 2))
    cell[1, 0] = rng.uniform(-2.0, 2.0)
    positions = rng.uniform(0.0, 6.0, (n_atoms, 3))
    return Atoms("C" * n_atoms, positions, cell=cell, pbc=(True, True, False))


def wire(rng: np.random.Generator, n_atoms: int) -> Atoms:
    cell = np.zeros((3, 3))
    cell[1] = rng.uniform(-1.0, 1.0, 3) + np.array([0.0, 4.0, 0.0])
    positions = rng.uniform(0.0, 6.0, (n_atoms, 3))
    return Atoms("C" * n_atoms, positions, cell=cell, pbc=(False, True, False))


def bulk(rng: np.random.Generator, n_atoms: int) -> Atoms:
    cell = np.diag(rng.uniform(2.0, 9.0, 3))
    return Atoms("C" * n_atoms, rng.uniform(0, 1, (n_atoms, 3)) @ cell, cell=cell, pbc=True)


def triclinic(rng: np.random.Generator, n_atoms: int) -> Atoms:
    cell = np.diag(rng.uniform(3.0, 7.0, 3)) + rng.uniform(-1.5, 1.5, (3, 3))
    # Some atoms lie outside the cell, as they do in an unwrapped trajectory.
    positions = rng.uniform(-1.0, 2.0, (n_atoms, 3)) @ cell
    return Atoms("C" * n_atoms, positions, cell=cell, pbc=True)


KINDS = (open_molecule, slab, wire, bulk, triclinic)


def mixed_batch(seed: int, size: int) -> StructureBatch:
    rng = np.random.default_rng(seed)
    structures = [KINDS[rng.integers(5)](rng, int(rng.integers(1, 9))) for _ in range(size)]
    return StructureBatch.from_atoms(structures)
