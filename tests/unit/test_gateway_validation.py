"""Checks on structures: all at once, and before anything expensive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene, molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from forcegate_client.checks.cells import check_cells
from forcegate_client.checks.composition import composition_warnings
from forcegate_client.checks.structures import check_structures
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.graph import build_graph, edge_vectors
from forcegate_service.predict.density import crowded, estimate_edges
from forcegate_service.runtimes.fake import write_fake_model

CUTOFF, MINIMUM_DISTANCE = 5.0, 0.4


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return write_fake_model(tmp_path)


def test_each_structure_is_told_its_own_problem(card: ModelCard) -> None:
    charged, iron = molecule("H2O"), bulk("Fe")
    iron.set_initial_magnetic_moments(None)
    charged.info["charge"] = 1
    flat = Atoms("C", cell=[[5, 0, 0], [5, 0, 0], [0, 0, 5]], pbc=True)
    batch = StructureBatch.from_atoms([molecule("CH4"), charged, iron, flat, molecule("NH3")])
    problems = check_structures(batch, card, ("energy",))
    assert {index: error.code for index, error in problems.items()} == {
        1: "charge_unsupported",
        2: "element_unsupported",
        3: "cell_singular",
    }
    assert all(error.structure == index for index, error in problems.items())


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("C", "diamond", a=3.57),
        bulk("C", "diamond", a=3.57).repeat((5, 1, 1)),
        fcc111("C", (2, 2, 3), a=3.6),
        graphene(),
        Atoms("C", cell=[[0, 0, 1.4], [0, 0, 0], [0, 0, 0]], pbc=(True, False, False)),
        Atoms("C", cell=[1.0, 1.0, 500.0], pbc=True),
    ],
    ids=["diamond", "long", "slab", "graphene", "wire", "needle"],
)
def test_cells_that_occur_in_nature_pass(atoms: Atoms) -> None:
    batch = StructureBatch.from_atoms([atoms])
    assert not list(check_cells(batch, CUTOFF, MINIMUM_DISTANCE))


def test_a_vector_along_an_open_axis_may_be_anything() -> None:
    cell = [[5.0, 0, 0], [0, 5.0, 0], [5.0, 5.0, 0]]
    batch = StructureBatch.from_atoms([Atoms("C", cell=cell, pbc=(True, True, False))])
    assert not list(check_cells(batch, CUTOFF, MINIMUM_DISTANCE))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_atoms=st.integers(2, 40), side=st.floats(0.5, 12.0))
def test_structures_called_crowded_do_have_a_contact(seed: int, n_atoms: int, side: float) -> None:
    positions = np.random.default_rng(seed).uniform(-side, side, (n_atoms, 3))
    batch = StructureBatch.from_arrays([n_atoms], np.full(n_atoms, 6), positions)
    vectors = edge_vectors(build_graph(batch, CUTOFF))
    closest = np.linalg.norm(vectors, axis=1).min(initial=np.inf)
    if crowded(batch, MINIMUM_DISTANCE)[0]:
        assert closest < MINIMUM_DISTANCE


@pytest.mark.parametrize("n_cells", [2, 5, 8])
@pytest.mark.parametrize("periodic", [True, False])
def test_the_number_of_pairs_is_estimated_within_a_factor_of_four(
    n_cells: int, periodic: bool
) -> None:
    crystal = bulk("C", "diamond", a=3.57, cubic=True).repeat(n_cells)
    crystal.pbc = periodic
    batch = StructureBatch.from_atoms([crystal])
    estimate = estimate_edges(batch, CUTOFF)
    exact = build_graph(batch, CUTOFF).n_edges
    assert exact / 4 < estimate < exact * 4


def test_remarks_on_composition_count_electrons_and_hydrogens() -> None:
    stripped = molecule("C6H6")
    del stripped[stripped.numbers == 1]
    dry_ice = molecule("CO2", cell=[4.0, 4.0, 6.0], pbc=True).repeat((2, 2, 1))
    batch = StructureBatch.from_atoms(
        [molecule("CH4"), molecule("CH3"), stripped, bulk("C"), molecule("C2F4"), dry_ice]
    )
    warnings = composition_warnings(batch)
    assert sorted(warnings) == [1, 2]
    assert "odd number of electrons (9)" in warnings[1][0]
    assert "6 carbon atoms" in warnings[2][0]
