"""Drawn apart: what a student feels of far molecules is what their charges say, or is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from ase.units import Bohr, Hartree, kcal, mol
from scipy.spatial.distance import cdist

from forcegate_client.structures import StructureBatch
from forcegate_service.runtimes.fake import load_fake, write_fake_model
from forcegate_trainer.data.labelling.complexes import CONTACT, FAR, part_charges
from forcegate_trainer.data.molecules.structures import atomic_numbers, hydrogenated
from forcegate_trainer.simulation.potential import BatchPotential, Evaluation
from forcegate_trainer.validation.interactions.tail import PAIRS, TailSettings, measure_tails
from forcegate_trainer.validation.interactions.tail_section import tail_section
from forcegate_trainer.validation.subject import Subject, served
from support.teachers import aimnet2_file

TEACHER = "tblite:GFN2-xTB"
CHOSEN = {pair.name: pair for pair in PAIRS}
SHORT = TailSettings(pairs=(CHOSEN["water and water"], CHOSEN["ammonium and water"]), points=5)


class Ions:
    """Each molecule's net charge spread evenly over its atoms, and Coulomb between molecules.

    ``excess`` e are put on each molecule beside its charge; ``leak`` kcal/mol are added to a pair.
    """

    def __init__(self, excess: float = 0.0, leak: float = 0.0) -> None:
        self._excess, self._leak = excess, leak
        self._known = {}
        for pair in PAIRS:
            for smiles in (pair.first, pair.second):
                numbers = atomic_numbers(hydrogenated(smiles))
                total = part_charges(smiles).sum() + excess
                self._known[numbers.tobytes()] = np.full(len(numbers), total / len(numbers))

    def __call__(self, batch: StructureBatch, members: npt.NDArray[np.int64]) -> Evaluation:
        energies, charges = [], []
        for atoms in batch.to_atoms():
            parts = self._parts(atoms.numbers)
            energies.append(0.0)
            if len(parts) == 2:
                size = len(parts[0])
                distances = cdist(atoms.positions[:size], atoms.positions[size:])
                coulomb = (np.outer(*parts) / distances).sum()
                energies[-1] = Hartree * Bohr * coulomb + self._leak * kcal / mol
            charges.append(np.concatenate(parts))
        forces = np.zeros_like(batch.positions)
        unknown = np.full(len(batch), np.nan)
        return Evaluation(np.array(energies), forces, unknown, np.concatenate(charges))

    def _parts(self, numbers: npt.NDArray[np.int64]) -> list[npt.NDArray[np.float64]]:
        if numbers.tobytes() in self._known:
            return [self._known[numbers.tobytes()]]
        return next(
            [self._known[one.tobytes()], self._known[other.tobytes()]]
            for cut in range(1, len(numbers))
            if (one := numbers[:cut]).tobytes() in self._known
            and (other := numbers[cut:]).tobytes() in self._known
        )


def subject(potential: BatchPotential, teacher: str = TEACHER) -> Subject:
    return Subject("toy", potential, lambda: pytest.fail("not asked for"), teacher)


def test_charges_that_are_right_leave_no_rest_at_any_distance() -> None:
    found, left_out = measure_tails(subject(Ions()), replace(SHORT, pairs=PAIRS))
    assert not left_out
    for tail in found:
        np.testing.assert_allclose(tail.student_rest, 0.0, atol=1e-9)
        # The molecules start in touch and end where they were asked to.
        assert tail.distances[0] < CONTACT
        assert tail.distances[-1] == pytest.approx(20.0)
        assert SHORT.judged_at in tail.distances
    assert {tail.pair.kind for tail in found} == {"neutral", "ion and neutral", "ion pair"}


def test_an_ion_pair_is_bound_by_the_energy_of_two_charges() -> None:
    (tail,), _ = measure_tails(
        subject(Ions()), replace(SHORT, pairs=(CHOSEN["ammonium and acetate"],))
    )
    # 332 kcal/mol Å; the middles of the molecules are some 3 Å further apart than their atoms.
    assert tail.student[-1] == pytest.approx(-332.06 / 23.0, rel=0.1)
    assert abs(tail.student_rest[-1]) < 1e-9


@pytest.mark.parametrize(
    ("toy", "rest"),
    [
        (Ions(leak=0.3), 0.3),
        # One hundredth too much on both: 332 × ((1.01 × 0.01) − 0) over some 13 Å.
        (Ions(excess=0.01), pytest.approx(332.06 * 0.0101 / 13.0, rel=0.15)),
    ],
)
def test_what_leaks_to_a_far_neutral_molecule_is_judged(toy: Ions, rest: float) -> None:
    section = tail_section(subject(toy), SHORT)
    assert section.figures_for_verdict == {"ion_neutral_rest_kcal": pytest.approx(rest)}
    assert "ammonium and water (ion and neutral)" in section.markdown


def test_a_student_without_charges_is_asked_of_neutral_pairs_alone(tmp_path: Path) -> None:
    card = write_fake_model(tmp_path)
    folder = tmp_path / card.name / card.version
    card = card.model_copy(update={"teacher": {"name": TEACHER}})
    section = tail_section(served(folder, load_fake(folder), card), SHORT)
    assert list(section.data["pairs"]) == ["water and water"]
    assert list(section.data["left_out"]) == ["ammonium and water"]
    assert section.figures_for_verdict == {}


def test_the_teacher_that_leaks_is_not_what_is_taught_far_from_an_ion() -> None:
    aimnet2 = f"aimnet2:{aimnet2_file()}"
    found, _ = measure_tails(subject(Ions(), aimnet2), SHORT)
    neutral, charged = found
    np.testing.assert_array_equal(neutral.taught, neutral.teacher)
    between = (charged.distances > CONTACT) & (charged.distances <= FAR)
    assert np.isnan(charged.taught[between]).all()
    # Charge and dipole at 20 Å: what is taught decays, what leaks does not.
    assert abs(charged.taught[-1]) < 0.5 * abs(charged.teacher[-1])
    assert abs(charged.teacher_rest[-1]) > 0.2
