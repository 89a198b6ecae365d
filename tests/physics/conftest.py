"""Models under test: random weights of every size, and the trained ones in the repository."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from support.models import random_potential, trained, trained_models


def _identifiers() -> list[str]:
    random = [f"random:{name}" for name in ("painn_base", "painn_ultra_tiny")]
    return random + [f"trained:{version}" for version in trained_models(charges=False)]


@pytest.fixture(scope="session", params=_identifiers())
def model(request: pytest.FixtureRequest) -> torch.nn.Module:
    """A model in float64 that ends at its cutoff: random weights, then the trained ones."""
    kind, name = request.param.split(":")
    if kind == "random":
        return random_potential(name)
    return trained(name)


@pytest.fixture
def molecules() -> list[Atoms]:
    """Molecules that together hold every element, away from their symmetric minima."""
    names = ["CH3CH2OH", "C4H4S", "CH3Cl", "HCF3", "CH3CONH2", "H2O", "C2H6NH"]
    structures = [molecule(name) for name in names]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.08, seed=seed)
    return structures


@pytest.fixture
def crystal() -> Atoms:
    """A triclinic crystal of a small molecule, denser than physical so that images matter."""
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=1)
    atoms.set_cell(np.array([[4.6, 0.0, 0.0], [1.1, 4.9, 0.0], [-0.7, 0.9, 4.4]]))
    atoms.pbc = True
    return atoms


@pytest.fixture
def diamond() -> Atoms:
    """Carbon with one atom displaced."""
    atoms = bulk("C", "diamond", a=3.6, cubic=True)
    atoms.positions[0] += [0.05, -0.08, 0.03]
    return atoms
