"""Relaxed by the engine, structures end where batches of single steps take them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms, FixBondLength, FixCartesian

from forcegate_client.local.models import LocalModels
from forcegate_client.local.relaxation import relax_by_engine
from forcegate_client.relaxation import Relaxed, evaluator, relax_batched
from support.models import REPOSITORY

MODEL = "painn_ultra_tiny"
MODELS = LocalModels(REPOSITORY, threads=1)
RULES = {"fmax": 0.05, "max_steps": 120}


def structures() -> list[Atoms]:
    rng = np.random.default_rng(0)
    found = [molecule(name) for name in ("H2O", "CH3OH", "C2H6", "CH3COOH", "CH4", "CH3OH")]
    for atoms in found:
        atoms.rattle(0.08, rng=rng)
    found[1].set_constraint(FixAtoms([0, 2]))
    found[4].set_constraint(FixCartesian(1, [True, False, False]))
    found[5].set_cell([5.0, 5.4, 6.1])
    found[5].pbc = True
    bound = molecule("H2O")
    bound.set_constraint(FixBondLength(0, 1))
    close = molecule("CH4")
    close.positions[1] = close.positions[0] + 0.3
    not_finite = molecule("H2O")
    not_finite.positions[0] = np.nan
    return [*found, molecule("SiH4"), Atoms(), close, bound, not_finite, Atoms("O")]


def by_index(found: list[Relaxed]) -> list[Relaxed]:
    return sorted(found, key=lambda one: one.index)


def test_each_structure_ends_where_single_steps_take_it_or_fails_as_it_does_there() -> None:
    ask = evaluator(MODELS, MODEL)
    student = MODELS.student(MODEL)
    mine = by_index(list(relax_by_engine(structures(), ask, student, **RULES)))
    theirs = by_index(list(relax_batched(structures(), ask, **RULES)))
    assert [one.index for one in mine] == list(range(len(structures())))
    for one, other in zip(mine, theirs, strict=True):
        assert one.problem == other.problem, one.index
        assert (one.converged, one.steps) == (other.converged, other.steps), one.index
        kept = [[held.todict() for held in atoms.constraints] for atoms in (one.atoms, other.atoms)]
        np.testing.assert_equal(*kept)
        if one.problem is None:
            assert one.energy == pytest.approx(other.energy, abs=1e-6)
            assert one.start_energy == pytest.approx(other.start_energy, abs=1e-6)
            assert one.max_force == pytest.approx(other.max_force, abs=1e-4)
            np.testing.assert_allclose(one.atoms.positions, other.atoms.positions, atol=1e-4)
            np.testing.assert_allclose(
                one.atoms.get_forces(apply_constraint=False),
                other.atoms.get_forces(apply_constraint=False),
                atol=1e-3,
            )
    assert sum(one.problem is None for one in mine) == 7
    assert all(one.converged for one in mine if one.problem is None)


def test_a_structure_that_runs_out_of_steps_keeps_where_it_is() -> None:
    (one,) = relax_by_engine(
        *([structures()[3]], evaluator(MODELS, MODEL), MODELS.student(MODEL)),
        fmax=1e-6,
        max_steps=3,
    )
    assert (one.converged, one.steps, one.problem) == (False, 3, None)
    assert one.energy is not None
    assert one.energy < one.start_energy
