"""Water clusters: the same at every call, bound per molecule, and an error is what it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from ase.calculators.calculator import Calculator
from ase.units import kcal, mol
from scipy.spatial.distance import cdist

from forcegate_client.structures import StructureBatch
from forcegate_trainer.simulation.potential import BatchPotential, CalculatorPotential, Evaluation
from forcegate_trainer.teachers import make_teacher
from forcegate_trainer.validation.interactions.water_clusters import (
    WaterSettings,
    water_cluster,
    water_section,
)
from forcegate_trainer.validation.subject import Subject

TEACHER = "tblite:GFN2-xTB"
SMALL = WaterSettings(sizes=(2, 3), copies=1, steps=15)


def gfn2() -> Calculator:
    return make_teacher(TEACHER)


def student(potential: BatchPotential) -> Subject:
    """It relaxes as the teacher does, and answers as ``potential``."""
    return Subject("student", potential, gfn2, TEACHER)


class TooWeak:
    """The teacher, but each molecule of a cluster is bound by ``kcal_each`` less."""

    def __init__(self, kcal_each: float) -> None:
        self._exact = CalculatorPotential(gfn2)
        self._each = kcal_each * kcal / mol

    def __call__(self, batch: StructureBatch, members: npt.NDArray[np.int64]) -> Evaluation:
        found = self._exact(batch, members)
        molecules = batch.n_atoms / 3
        return found._replace(energies=found.energies + self._each * molecules * (molecules > 1))


@pytest.mark.parametrize("size", [2, 6, 10])
def test_a_cluster_is_whole_molecules_in_touch_and_the_same_at_every_call(size: int) -> None:
    first = water_cluster(size, 0, 19)
    assert first.get_chemical_formula() == f"H{2 * size}O{size}"
    np.testing.assert_array_equal(first.positions, water_cluster(size, 0, 19).positions)
    assert np.abs(first.positions - water_cluster(size, 1, 19).positions).max() > 0.1
    molecules = np.arange(3 * size) // 3
    for one in range(size):
        own, others = first.positions[molecules == one], first.positions[molecules != one]
        assert np.linalg.norm(own[1:] - own[0], axis=1) == pytest.approx([0.97, 0.97], abs=0.03)
        assert 1.4 < cdist(own, others).min() < 4.0


def test_the_teacher_as_its_own_student_has_no_error() -> None:
    section = water_section(student(CalculatorPotential(gfn2)), SMALL)
    assert section.figures_for_verdict["water_worst_kcal"] < 0.01
    pair, three = section.data["clusters"]
    # GFN2-xTB binds a pair by 5 kcal/mol, and three at three places.
    assert -2.6 < pair["teacher"] < -1.5
    assert three["teacher"] < pair["teacher"]


def test_what_binds_too_weakly_is_off_by_that_much_per_molecule() -> None:
    section = water_section(student(TooWeak(0.7)), SMALL)
    assert section.figures_for_verdict["water_worst_kcal"] == pytest.approx(0.7, abs=0.01)
    assert section.data["summary"]["mae_kcal_per_molecule"] == pytest.approx(0.7, abs=0.01)


def test_a_cluster_without_an_answer_leaves_nothing_to_judge() -> None:
    section = water_section(student(TooWeak(np.nan)), SMALL)
    assert section.figures_for_verdict == {}
    assert section.data["without_answer"] == ["2 molecules, copy 1", "3 molecules, copy 1"]
    assert "nothing is judged" in section.markdown
