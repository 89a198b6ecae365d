"""Every way of finding neighbours finds the same edges, in the same order."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.neighbors import periodic
from forcegate_service.contract.neighbors.dense import copy_pairs, open_pairs
from forcegate_service.contract.neighbors.lattice import complete_cell, copies_within
from forcegate_service.contract.neighbors.periodic import cell_list_pairs, tree_pairs
from support.random_structures import KINDS, bulk, mixed_batch, open_molecule, triclinic

CUTOFF = 5.0
TOLERANCE_A = 1e-9

Edges = tuple[np.ndarray, np.ndarray, np.ndarray]
Way = Callable[[np.ndarray, np.ndarray, np.ndarray, float], Edges]

seeds = st.integers(0, 2**32 - 1)


def reference(batch: StructureBatch, cutoff: float) -> Edges:
    """Centers, neighbors and shifts, pair by pair and image by image."""
    rows, shifts = [], []
    for b, first in enumerate(batch.offsets[:-1].tolist()):
        positions = batch.positions[first : first + int(batch.n_atoms[b])]
        pbc = batch.pbc[b]
        cell = complete_cell(batch.cells[b], pbc, positions, cutoff) if pbc.any() else np.eye(3)
        dual = np.linalg.inv(cell)
        reach = np.where(pbc, np.ceil(cutoff * np.linalg.norm(dual, axis=0)) + 1, 0).astype(int)
        steps = np.indices(2 * reach + 1).reshape(3, -1).T - reach
        for i, center in enumerate(positions):
            for j, neighbor in enumerate(positions):
                difference = neighbor - center
                images = steps - np.where(pbc, np.round(difference @ dual), 0).astype(int)
                vectors = difference + images @ cell
                near = np.linalg.norm(vectors, axis=1) < cutoff
                near &= images.any(axis=1) | (i != j)
                rows += [(first + i, first + j)] * int(near.sum())
                shifts.append(images[near] @ cell)
    index = np.array(rows, dtype=np.int64).reshape(-1, 2)
    return index[:, 0], index[:, 1], np.concatenate([np.zeros((0, 3)), *shifts])


def assert_equal(received: Edges, expected: Edges) -> None:
    np.testing.assert_array_equal(received[0], expected[0])
    np.testing.assert_array_equal(received[1], expected[1])
    np.testing.assert_allclose(received[2], expected[2], atol=TOLERANCE_A)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, size=st.integers(1, 8))
def test_edges_are_those_of_the_definition(seed: int, size: int) -> None:
    batch = mixed_batch(seed, size)
    graph = build_graph(batch, CUTOFF)
    assert_equal((*graph.edge_index, graph.edge_shift), reference(batch, CUTOFF))
    assert [array.dtype for array in (graph.edge_index, graph.edge_shift)] == [np.int64, float]


@settings(max_examples=40, deadline=None)
@given(seed=seeds, counts=st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_molecules_have_the_same_neighbours_alone_and_together(
    seed: int, counts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    n_atoms = np.array(counts)
    positions = rng.uniform(0.0, 9.0, (int(n_atoms.sum()), 3))
    starts = np.cumsum(n_atoms) - n_atoms
    alone = [
        open_pairs(positions[start : start + count], np.array([count]), CUTOFF) + start
        for start, count in zip(starts, counts, strict=True)
    ]
    together = open_pairs(positions, n_atoms, CUTOFF)
    np.testing.assert_array_equal(together, np.concatenate(alone, axis=1))
    assert together.flags.c_contiguous


@pytest.mark.parametrize("n_atoms", [1, 127, 129, 300, 301, 500])
def test_the_size_of_a_molecule_does_not_matter(n_atoms: int) -> None:
    atoms = open_molecule(np.random.default_rng(n_atoms), n_atoms)
    graph = build_graph(StructureBatch.from_atoms([atoms]), CUTOFF)
    distances = np.linalg.norm(atoms.positions[:, None] - atoms.positions, axis=2)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(graph.edge_index, np.nonzero(distances < CUTOFF))
    assert not graph.edge_shift.any()


def dense(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> Edges:
    copies = copies_within(positions, cell, np.linalg.inv(cell), pbc, cutoff)
    center, copy = copy_pairs(positions, copies, cutoff)
    return center, copies.atom[copy], copies.shift[copy]


def tree(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> Edges:
    copies = copies_within(positions, cell, np.linalg.inv(cell), pbc, cutoff)
    center, copy = tree_pairs(positions, copies, cutoff)
    return center, copies.atom[copy], copies.shift[copy]


@pytest.mark.parametrize("way", [dense, tree, cell_list_pairs])
@settings(max_examples=25, deadline=None)
@given(seed=seeds, n_atoms=st.integers(1, 14), kind=st.sampled_from(KINDS[1:]))
def test_every_way_finds_the_edges_of_the_definition(
    way: Way, seed: int, n_atoms: int, kind: Callable[[np.random.Generator, int], Atoms]
) -> None:
    atoms = kind(np.random.default_rng(seed), n_atoms)
    cell = complete_cell(atoms.cell.array, atoms.pbc, atoms.positions, CUTOFF)
    # The ways expect atoms inside the cell; bringing them there is the caller's part.
    inside = atoms.positions @ np.linalg.inv(cell)
    atoms.positions = np.where(atoms.pbc, inside % 1.0, inside) @ cell
    received = way(atoms.positions, cell, atoms.pbc, CUTOFF)
    assert_equal(received, reference(StructureBatch.from_atoms([atoms]), CUTOFF))


@pytest.mark.parametrize("way", [dense, tree, cell_list_pairs])
def test_an_atom_at_the_cutoff_is_no_neighbor(way: Way) -> None:
    # Numbers without rounding: a simple cubic crystal with a quarter of the cutoff as its spacing.
    spacing = CUTOFF / 4.0
    positions = np.indices((8, 8, 8)).reshape(3, -1).T * spacing
    cell = np.eye(3) * 8.0 * spacing
    center, _, _ = way(positions, cell, np.ones(3, dtype=np.bool_), CUTOFF)
    grid = np.indices((9, 9, 9)).reshape(3, -1).T - 4
    within = int(((grid**2).sum(axis=1) < 16).sum()) - 1
    np.testing.assert_array_equal(np.bincount(center), within)


@pytest.mark.parametrize("kind", [bulk, triclinic])
@pytest.mark.parametrize("dense_pairs", [0.0, np.inf], ids=["searched", "dense"])
def test_an_unwrapped_trajectory_has_the_edges_of_the_wrapped_one(
    kind: Callable[[np.random.Generator, int], Atoms],
    dense_pairs: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(periodic, "_DENSE_PAIRS", dense_pairs)
    rng = np.random.default_rng(3)
    atoms = kind(rng, 20)
    far = atoms.copy()
    far.positions += rng.integers(-4000, 4000, (20, 3)) @ atoms.cell.array
    near_graph, far_graph = (
        build_graph(StructureBatch.from_atoms([one]), CUTOFF) for one in (atoms, far)
    )
    np.testing.assert_array_equal(near_graph.edge_index, far_graph.edge_index)
    center, neighbor = far_graph.edge_index
    vectors = far.positions[neighbor] - far.positions[center] + far_graph.edge_shift
    assert (np.linalg.norm(vectors, axis=1) < CUTOFF).all()


@pytest.mark.parametrize("dense_pairs", [0.0, np.inf], ids=["searched", "dense"])
def test_the_two_directions_of_an_edge_have_opposite_shifts(
    dense_pairs: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(periodic, "_DENSE_PAIRS", dense_pairs)
    batch = StructureBatch.from_atoms([triclinic(np.random.default_rng(4), 15)])
    graph = build_graph(batch, CUTOFF)
    center, neighbor = graph.edge_index
    edges = set(zip(center.tolist(), neighbor.tolist(), map(tuple, graph.edge_shift), strict=True))
    back = set(zip(neighbor.tolist(), center.tolist(), map(tuple, -graph.edge_shift), strict=True))
    assert edges == back


def test_many_small_molecules_need_memory_for_their_edges_only() -> None:
    n_molecules, n_atoms = 5000, 20
    rng = np.random.default_rng(5)
    positions = rng.uniform(0.0, 6.0, (n_molecules * n_atoms, 3))
    batch = StructureBatch.from_arrays(
        np.full(n_molecules, n_atoms), np.full(len(positions), 6), positions
    )
    tracemalloc.start()
    graph = build_graph(batch, CUTOFF)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert graph.n_edges < n_molecules * n_atoms * (n_atoms - 1)
    # Four numbers an edge, twice while blocks are put together, and one block.
    assert peak < 2 * graph.n_edges * 5 * 8 + 2**24
