"""What the engine tells of structures before anything is computed from them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import given
from hypothesis import strategies as st

from forcegate_client.structures import StructureBatch
from forcegate_engine import Survey, survey
from forcegate_engine.errors import BadArgument, BadStructure, EngineError, TooLarge, UnknownElement
from support.random_structures import mixed_batch

CUTOFF, PAIR_CUTOFF = 5.0, 9.0
# By atomic number; no two pairs of elements alike.
SHORTEST = 0.5 + np.add.outer(np.arange(18.0) ** 0.5, np.arange(18.0) ** 0.5)


def surveyed(batch: StructureBatch, pair_cutoff: float = 0.0) -> Survey:
    return survey(
        batch.atomic_numbers,
        batch.positions,
        cutoff=CUTOFF,
        shortest=SHORTEST,
        pair_cutoff=pair_cutoff,
        n_atoms=batch.n_atoms,
        cells=batch.cells,
        pbc=batch.pbc,
    )


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 6))
def test_it_counts_and_measures_as_ase_does(seed: int, size: int) -> None:
    batch = mixed_batch(seed, size)
    found = surveyed(batch, PAIR_CUTOFF)
    first = 0
    for b, atoms in enumerate(batch.to_atoms()):
        atoms.cell = atoms.cell.complete()
        center, neighbor, distance = neighbor_list("ijd", atoms, CUTOFF)
        assert found.edges[b] == len(center)
        n = len(atoms)
        pairs = len(neighbor_list("i", atoms, PAIR_CUTOFF)) // 2 if atoms.pbc.any() else None
        assert found.pairs[b] == (n * (n - 1) // 2 if pairs is None else pairs)
        nearest = np.full(n, np.inf)
        np.minimum.at(nearest, center, distance)
        np.testing.assert_allclose(found.nearest[first : first + n], nearest, atol=1e-9)
        ratio = distance / SHORTEST[atoms.numbers[center], atoms.numbers[neighbor]]
        np.testing.assert_allclose(found.closeness[b], ratio.min(initial=np.inf), atol=1e-9)
        isolation = np.full(n, np.inf)
        np.minimum.at(isolation, center, ratio)
        np.testing.assert_allclose(found.isolation[first : first + n], isolation, atol=1e-9)
        if len(ratio):
            of_both = SHORTEST[tuple(atoms.numbers[found.closest[b]])]
            assert found.distance[b] == pytest.approx(found.closeness[b] * of_both)
        first += n


def test_without_pairs_none_are_counted_and_a_lone_atom_has_no_neighbor() -> None:
    found = surveyed(StructureBatch.from_atoms([Atoms("H"), Atoms("H2", [[0, 0, 0], [0, 0, 1]])]))
    assert found.pairs.tolist() == [0, 0]
    assert found.edges.tolist() == [0, 2]
    assert np.isinf([found.nearest[0], found.closeness[0], found.distance[0]]).all()
    assert found.nearest[1:].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"cutoff": 0.0}, BadArgument, "cutoff 0 Å"),
        ({"cutoff": float("nan")}, BadArgument, "cutoff nan"),
        ({"pair_cutoff": 1e9}, BadArgument, "pair_cutoff 1e"),
        ({"shortest": np.ones((3, 4))}, BadArgument, r"expected \[Z, Z\]"),
        ({"shortest": np.ones((8, 8))}, UnknownElement, "element 8; expected numbers below 8"),
        ({"atomic_numbers": [8, -1]}, UnknownElement, "element -1"),
        ({"positions": np.full((2, 3), np.inf)}, BadStructure, "atom 0 at inf"),
        ({"pbc": [[1, 1, 1]], "cells": np.zeros((1, 3, 3))}, BadStructure, "volume 0"),
        (
            {"atomic_numbers": [1] * 5000, "positions": np.zeros((5000, 3))},
            *(TooLarge, "more than 4096"),
        ),
    ],
)
def test_what_cannot_be_looked_at_is_refused(
    change: dict[str, object], error: type[EngineError], said: str
) -> None:
    asked: dict[str, object] = {
        "atomic_numbers": [8, 1],
        "positions": np.eye(3)[:2],
        "cutoff": CUTOFF,
        "shortest": SHORTEST,
    }
    with pytest.raises(error, match=said):
        survey(**(asked | change))
