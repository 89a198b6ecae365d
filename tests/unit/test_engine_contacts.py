"""The engine finds the atoms that are too close for their elements, images included."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from forcegate_client.structures import StructureBatch
from forcegate_engine import closest_pairs
from forcegate_engine.errors import BadArgument, BadStructure, UnknownElement
from support.engine import mixed

# Å, by atomic number; of the order of bonds, so that some structures have near pairs.
_RNG = np.random.default_rng(3)
NEAR = 0.95 + 0.4 * _RNG.random((36, 36))
NEAR = (NEAR + NEAR.T) / 2.0


def reference(atoms: Atoms) -> tuple[float, float]:
    """The smallest part of what is near, and the distance of that pair; by ASE."""
    first, second, distances = neighbor_list("ijd", atoms, float(NEAR.max()))
    parts = distances / NEAR[atoms.numbers[first], atoms.numbers[second]]
    if not len(parts) or parts.min() >= 1.0:
        return np.inf, 0.0
    return float(parts.min()), float(distances[np.argmin(parts)])


def test_the_closest_pair_of_each_structure_is_that_of_a_plain_search() -> None:
    batch = mixed()
    found = closest_pairs(
        *(batch.atomic_numbers, batch.positions, NEAR),
        n_atoms=batch.n_atoms,
        cells=batch.cells,
        pbc=batch.pbc,
    )
    near = 0
    for b, atoms in enumerate(batch.to_atoms()):
        part, distance = reference(atoms)
        assert found.distances[b] == pytest.approx(distance, abs=1e-9)
        one, other = found.pairs[b]
        assert (one >= 0) == np.isfinite(part)
        if one >= 0:
            near += 1
            kinds = atoms.numbers[[one, other]]
            assert distance / NEAR[kinds[0], kinds[1]] == pytest.approx(part, abs=1e-9)
    assert 10 < near < len(batch)


def test_an_atom_meets_its_own_image() -> None:
    cell = np.diag([1.0, 9.0, 9.0])[None]
    found = closest_pairs([6], np.zeros((1, 3)), NEAR + 1.0, cells=cell, pbc=[[1, 0, 0]])
    assert found.pairs.tolist() == [[0, 0]]
    assert found.distances[0] == pytest.approx(1.0)
    assert closest_pairs([6], np.zeros((1, 3)), NEAR + 1.0).pairs.tolist() == [[-1, -1]]


def test_a_heap_of_atoms_is_seen_at_once() -> None:
    # All pairs of so many atoms would take minutes.
    found = closest_pairs([6] * 200_000, np.zeros((200_000, 3)), NEAR)
    assert found.distances[0] == 0.0
    assert found.pairs[0].min() >= 0


def test_what_makes_no_sense_is_refused() -> None:
    water = np.eye(3)
    with pytest.raises(UnknownElement, match="structure 0: atom 1 of element 99"):
        closest_pairs([8, 99, 1], water, NEAR)
    with pytest.raises(BadStructure, match="atom 0 at nan"):
        closest_pairs([8, 1, 1], water * np.nan, NEAR)
    with pytest.raises(BadArgument, match="as many rows as columns"):
        closest_pairs([8, 1, 1], water, NEAR[:3])
    with pytest.raises(BadArgument, match="a distance of nan"):
        closest_pairs([8, 1, 1], water, NEAR * np.nan)
    batch = StructureBatch.from_arrays([2, 1], [8, 1, 1], water)
    with pytest.raises(BadArgument, match="2 atoms in all structures"):
        closest_pairs(batch.atomic_numbers, water, NEAR, n_atoms=[2])
