"""What is measured is what its name says."""

import numpy as np
import pytest
import torch
from ase.units import _amu

from forcegate_bench.subjects.eager import EagerPotential
from forcegate_bench.subjects.models import flops, inputs_of, potential_of
from forcegate_bench.subjects.structures import BOXES, ORGANIC, Shaken, structure, water_box
from forcegate_trainer.network.config import PaiNNConfig

CUTOFF = 5.0
# Float32 sums in another order.
FORCE_TOLERANCE = 2e-5


def stated_atoms(name: str) -> int:
    return int(name.partition("(")[2].split()[0])


@pytest.mark.parametrize("name", [*ORGANIC, *BOXES])
def test_structures_have_the_number_of_atoms_in_their_name(name: str) -> None:
    assert len(structure(name)) == stated_atoms(name)


def test_aspirin_has_306_edges() -> None:
    assert inputs_of(Shaken("aspirin (21 atoms)").batch, CUTOFF)[2].shape == (2, 306)


@pytest.mark.parametrize("n_molecules", [27, 64, 100, 333])
def test_a_box_of_water_has_the_density_of_the_liquid_and_no_clash(n_molecules: int) -> None:
    box = water_box(n_molecules)
    grams_per_cm3 = box.get_masses().sum() * _amu * 1e3 / (box.get_volume() * 1e-24)
    assert grams_per_cm3 == pytest.approx(0.997, rel=0.01)
    assert box.pbc.all()
    distances = box.get_all_distances(mic=True) + 10.0 * np.eye(len(box))
    assert distances.min() > 0.9
    between = distances.reshape(n_molecules, 3, n_molecules, 3).min(axis=(1, 3))
    assert (between + 10.0 * np.eye(n_molecules)).min() > 1.0


def test_positions_are_fresh_and_reproducible() -> None:
    first, again = Shaken("aspirin (21 atoms)", 2), Shaken("aspirin (21 atoms)", 2)
    one, other = first.next_batch().positions, first.next_batch().positions
    assert np.abs(one - other).max() > 1e-3
    assert np.abs(one[:21] - one[21:]).max() > 1e-3
    np.testing.assert_array_equal(one, again.next_batch().positions)


@pytest.mark.parametrize("name", ["aspirin (21 atoms)", "water box (192 atoms)"])
def test_the_eager_network_is_the_same_network(name: str) -> None:
    potential = potential_of(PaiNNConfig(width=24, depth=3))
    inputs = inputs_of(Shaken(name, 2).next_batch(), CUTOFF)
    with torch.no_grad():
        energy, forces = potential(*inputs)[:2]
    eager_energy, eager_forces = EagerPotential(potential)(*inputs)
    scale = float(forces.square().mean().sqrt())
    torch.testing.assert_close(eager_energy, energy, rtol=1e-5, atol=1e-4)
    assert float((eager_forces - forces).abs().max()) < FORCE_TOLERANCE * max(scale, 1.0)


def test_operations_grow_with_edges_and_with_the_square_of_the_width() -> None:
    aspirin = inputs_of(Shaken("aspirin (21 atoms)").batch, CUTOFF)
    three = inputs_of(Shaken("aspirin (21 atoms)", 3).batch, CUTOFF)
    narrow, wide = (potential_of(PaiNNConfig(width=width, depth=3)) for width in (32, 64))
    assert flops(narrow, three) == 3 * flops(narrow, aspirin)
    # The filters grow with the width alone.
    assert 2.0 < flops(wide, aspirin) / flops(narrow, aspirin) < 4.0
