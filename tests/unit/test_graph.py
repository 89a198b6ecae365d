"""Neighbour lists equal ASE's for every kind of cell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import Graph, build_graph, edge_vectors, listed
from forcegate_service.contract.structures import (
    Structures,
    Surveyed,
    keep_structures,
    merge,
    slice_structures,
)
from forcegate_service.queue.cost import CostModel
from forcegate_service.queue.microbatch import BatchLimit
from support.random_structures import KINDS, mixed_batch, open_molecule

CUTOFF = 5.0
TOLERANCE_A = 1e-9


def images(center: np.ndarray, neighbor: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Edges as rows (center, neighbor, vector) in an order that rounding does not change."""
    rows = np.column_stack([center, neighbor, vectors])
    return rows[np.lexsort(np.round(rows, 6).T[::-1])]


def assert_sorted(graph: Graph) -> None:
    center, neighbor = graph.edge_index
    assert (np.diff(center * len(graph.atomic_numbers) + neighbor) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_atoms=st.integers(1, 12))
def test_edges_are_those_of_ase(
    kind: Callable[[np.random.Generator, int], Atoms], seed: int, n_atoms: int
) -> None:
    atoms = kind(np.random.default_rng(seed), n_atoms)
    graph = build_graph(StructureBatch.from_atoms([atoms]), CUTOFF)
    complete = atoms.copy()
    complete.cell = atoms.cell.complete()
    expected = images(*neighbor_list("ijD", complete, CUTOFF))
    received = images(*graph.edge_index, edge_vectors(graph))
    assert received.shape == expected.shape
    np.testing.assert_allclose(received, expected, atol=TOLERANCE_A)
    assert_sorted(graph)


def test_large_open_structures_are_searched_alike() -> None:
    atoms = open_molecule(np.random.default_rng(5), 400)
    graph = build_graph(StructureBatch.from_atoms([atoms]), CUTOFF)
    expected = images(*neighbor_list("ijD", atoms, CUTOFF))
    received = images(*graph.edge_index, edge_vectors(graph))
    np.testing.assert_allclose(received, expected, atol=TOLERANCE_A)
    assert_sorted(graph)


def far_apart(rng: np.random.Generator) -> Atoms:
    """Two clusters hundreds of thousands of Å apart."""
    positions = np.concatenate(
        [rng.uniform(0.0, 9.0, (160, 3)), rng.uniform(4e5, 4e5 + 9, (160, 3))]
    )
    return Atoms("C" * 320, positions)


def sheet(rng: np.random.Generator) -> Atoms:
    """Thin along one axis, wide along the others: vesin 0.6 ends the process on these."""
    return Atoms("C" * 400, rng.uniform(0.0, 1.0, (400, 3)) * [3.0, 5000.0, 2000.0])


def needle(rng: np.random.Generator) -> Atoms:
    cell = np.diag([3.1, 3.3, 9e5])
    return Atoms("C" * 90, rng.uniform(-1, 1, (90, 3)) * [3.0, 3.0, 20.0], cell=cell, pbc=True)


def tall_slab(rng: np.random.Generator) -> Atoms:
    positions = rng.uniform(0.0, 5.0, (110, 3))
    positions[55:, 2] += 8e5
    return Atoms("C" * 110, positions, cell=[4.1, 5.3, 0.0], pbc=(True, True, False))


@pytest.mark.parametrize("kind", [far_apart, sheet, needle, tall_slab])
def test_nearly_empty_space_neither_hides_nor_invents_edges(
    kind: Callable[[np.random.Generator], Atoms],
) -> None:
    atoms = kind(np.random.default_rng(8))
    graph = build_graph(StructureBatch.from_atoms([atoms]), CUTOFF)
    assert_sorted(graph)
    reach = np.where(atoms.pbc, 4, 0)
    grids = np.meshgrid(*(np.arange(-count, count + 1) for count in reach), indexing="ij")
    n_edges = 0
    for shift in np.stack(grids, axis=-1).reshape(-1, 3) @ atoms.cell.array:
        vectors = atoms.positions[None] - atoms.positions[:, None] + shift
        distances = np.linalg.norm(vectors, axis=2)
        n_edges += int(((distances < CUTOFF) & (distances > 0.0)).sum())
    inside = np.linalg.norm(edge_vectors(graph), axis=1) < CUTOFF
    assert int(inside.sum()) == graph.n_edges == n_edges


def assert_same(one: Structures, other: Structures) -> None:
    """The same structures with the same counts, and the same edges once these are listed."""
    for left, right in zip(one.counts(), other.counts(), strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(one.nearest(), other.nearest())
    graphs = (listed(one, CUTOFF, None).arrays(), listed(other, CUTOFF, None).arrays())
    for left, right in zip(*graphs, strict=True):
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, size=st.integers(1, 8))
def test_graphs_made_together_equal_graphs_merged(seed: int, size: int) -> None:
    batch = mixed_batch(seed, size)
    together = build_graph(batch, CUTOFF)
    assert_sorted(together)
    alone = [build_graph(batch.select([b]), CUTOFF) for b in range(size)]
    assert_same(merge(alone), together)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, size=st.integers(1, 8), data=st.data())
def test_part_of_a_graph_is_the_graph_of_a_part(seed: int, size: int, data: st.DataObject) -> None:
    batch = mixed_batch(seed, size)
    graph = build_graph(batch, CUTOFF)
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    part = build_graph(batch.select(np.arange(start, stop)), CUTOFF)
    assert_same(slice_structures(graph, start, stop), part)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    kept = build_graph(batch.select(np.flatnonzero(keep)), CUTOFF)
    assert_same(keep_structures(graph, keep), kept)


def _pieces(graph: Structures, limit: int) -> list[Structures]:
    """Divided by memory alone: time costs nothing here."""
    pieces = BatchLimit(CostModel(0.0, 0.0, 0.0), 1.0, limit).microbatches(graph)
    return [piece.structures for piece in pieces]


@settings(max_examples=30, deadline=None)
@given(seed=seeds, size=st.integers(1, 8), limit=st.integers(1, 2000))
def test_a_split_loses_nothing_and_keeps_its_limit(seed: int, size: int, limit: int) -> None:
    graph = build_graph(mixed_batch(seed, size), CUTOFF)
    pieces = _pieces(graph, limit)
    assert_same(merge(pieces), graph)
    for piece in pieces:
        assert len(piece.n_atoms) == 1 or piece.n_edges + len(piece.atomic_numbers) <= limit


def test_an_empty_batch_is_an_empty_graph() -> None:
    graph = build_graph(StructureBatch.from_arrays([], [], np.zeros((0, 3))), CUTOFF)
    assert graph.n_edges == 0
    assert _pieces(graph, 10) == []


def test_all_arrays_of_a_graph_are_contiguous() -> None:
    graph = build_graph(mixed_batch(1, 6), CUTOFF)
    kept = keep_structures(graph, np.array([True, False, True, True, False, True]))
    assert all(array.flags.c_contiguous for array in graph.arrays())
    for one in (kept, slice_structures(graph, 1, 5), *_pieces(graph, 50)):
        assert isinstance(one, Surveyed)
        assert all(array.flags.c_contiguous for array in vars(one).values())
