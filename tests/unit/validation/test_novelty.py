"""σ and novelty: what they are said to be worth, and the structures that try them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as ase_molecule
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from forcegate_client.checks.composition import composition_warnings
from forcegate_client.dataset import Dataset
from forcegate_client.electrons import electrons_of
from forcegate_client.md.bonds import bonded_pairs
from forcegate_client.structures import StructureBatch
from forcegate_service.runtimes.fake import FakeRuntime, load_fake, write_fake_model
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.simulation.exported import RuntimePotential
from forcegate_trainer.simulation.potential import CalculatorPotential
from forcegate_trainer.teachers import make_teacher
from forcegate_trainer.validation.accuracy.heldout import predict_held_out, predict_with
from forcegate_trainer.validation.confidence.novelty import NoveltySettings
from forcegate_trainer.validation.confidence.novelty_section import novelty_section
from forcegate_trainer.validation.confidence.strange import DESCRIPTIONS, make_strange
from forcegate_trainer.validation.confidence.uncertainty import uncertainty_section
from forcegate_trainer.validation.molecules import molecule_from_smiles
from forcegate_trainer.validation.statistics import (
    auroc,
    calibration_bins,
    energy_calibration,
    gaussian_nll,
    group_rms,
    rank_correlation,
)
from forcegate_trainer.validation.subject import Subject
from support.datasets import labelled_dataset

TEACHER = "tblite:GFN2-xTB"


@pytest.fixture(scope="module")
def frames() -> Dataset:
    return labelled_dataset(frames_per_molecule=2)


def test_what_is_made_of_an_ion_has_its_charge() -> None:
    acetate = molecule_from_smiles("CC(=O)[O-]")
    bare = Atoms(acetate.numbers, acetate.positions, info={"charge": -1})
    made = make_strange([bare], np.random.default_rng(1), ions=False)
    assert {entry.kind for entry in made} >= {"stretched bond", "radical", "random gas"}
    assert {electrons_of(entry.atoms)[0] for entry in made} == {-1}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> FakeRuntime:
    folder = tmp_path_factory.mktemp("models")
    card = write_fake_model(folder)
    return load_fake(Path(folder) / card.name / card.version)


def draw(count: int, informative: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors, σ and molecules; the errors have width σ, or a width that σ knows nothing of."""
    rng = np.random.default_rng(0)
    sigma = np.exp(rng.normal(-2.0, 0.8, count))
    width = sigma if informative else np.exp(rng.permutation(np.log(sigma)))
    return rng.normal(0.0, width), sigma, np.arange(count) // 10


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    error, sigma, _ = draw(50, informative=True)
    assert gaussian_nll(error, sigma) == pytest.approx(-norm(scale=sigma).logpdf(error).mean())


def test_a_calibrated_sigma_beats_any_constant() -> None:
    found = energy_calibration(*draw(4000, informative=True))
    assert found["rms_error_over_sigma"] == pytest.approx(1.0, abs=0.05)
    assert found["nll"] is not None
    assert found["nll_best_constant_sigma"] is not None
    assert found["nll"] < found["nll_best_constant_sigma"] - 0.1
    assert found["spearman_error_sigma"] is not None
    assert found["spearman_error_sigma"] > 0.4


def test_a_sigma_that_knows_nothing_loses_to_the_best_constant() -> None:
    found = energy_calibration(*draw(4000, informative=False))
    assert found["nll_sigma_times_best_factor"] is not None
    assert found["nll_best_constant_sigma"] is not None
    assert found["nll_sigma_times_best_factor"] > found["nll_best_constant_sigma"]
    assert abs(found["spearman_error_sigma"] or 0.0) < 0.05


def test_the_best_factor_is_the_best() -> None:
    error, sigma, molecule = draw(200, informative=False)
    best = energy_calibration(error, sigma, molecule)["nll_sigma_times_best_factor"]
    assert best is not None
    for factor in (0.5, 0.9, 1.1, 2.0):
        scale = float(np.sqrt(np.mean((error / sigma) ** 2)))
        assert best < gaussian_nll(error, factor * scale * sigma)


def test_a_correlation_with_a_constant_is_not_defined() -> None:
    error = np.array([0.1, -0.2, 0.3, 0.05])
    found = energy_calibration(error, np.full(4, 0.1), np.zeros(4, dtype=np.int64))
    assert found["spearman_error_sigma"] is None
    assert found["spearman_error_sigma_molecules"] is None
    assert rank_correlation([1.0, 2.0], [1.0, 2.0]) is None


def test_bins_hold_every_frame_once_and_rise() -> None:
    error, sigma, _ = draw(103, informative=True)
    bins = calibration_bins(error, sigma, 10)
    assert sum(part["frames"] for part in bins) == 103
    assert np.all(np.diff([part["sigma_rms_ev"] for part in bins]) > 0)


def test_the_rms_of_a_group_is_of_its_own_values() -> None:
    found = group_rms(np.array([3.0, 4.0, -5.0]), np.array([7, 7, 2]))
    np.testing.assert_allclose(found, [5.0, np.sqrt(12.5)])


values = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=12)


@given(strange=values, normal=values)
def test_auroc_is_the_share_of_pairs_in_the_right_order(
    strange: list[float], normal: list[float]
) -> None:
    wins = [(s > n) + 0.5 * (s == n) for s in strange for n in normal]
    assert auroc(strange, normal) == pytest.approx(np.mean(wins))


def test_the_teacher_is_its_own_perfect_student_and_tells_no_uncertainty(frames: Dataset) -> None:
    potential = CalculatorPotential(lambda: make_teacher(TEACHER))
    held_out, failed = predict_with(potential, frames)
    assert failed == 0
    assert held_out.frame_force_rmse().max() < 0.002
    assert "uncertainty" not in held_out.summary()
    with pytest.raises(SettingsError, match="uncertainty"):
        _ = held_out.sigma
    section = uncertainty_section(held_out)
    assert section.figures == {}
    assert "no uncertainty" in section.markdown
    itself = Subject("the teacher", potential, lambda: make_teacher(TEACHER), TEACHER)
    assert novelty_section(itself, held_out, NoveltySettings()).data == {"kinds": None}


def test_the_error_of_a_frame_is_of_its_own_atoms(frames: Dataset, runtime: FakeRuntime) -> None:
    held_out = predict_held_out(runtime, frames)
    atoms = frames.atoms_of(3)
    direct = np.sqrt(np.mean((held_out.forces[atoms] - held_out.force_label[atoms]) ** 2))
    assert held_out.frame_force_rmse()[3] == pytest.approx(direct)
    size = np.sqrt(np.mean(held_out.force_label[atoms] ** 2))
    assert held_out.frame_force_rms()[3] == pytest.approx(size)
    section = uncertainty_section(held_out)
    assert "does not calibrate forces" in section.markdown
    assert set(section.figures) == {"calibration", "novelty_test"}


def made_of(*names: str) -> dict[str, list[Atoms]]:
    """Strange structures of molecules, by kind; the ions left out."""
    strange = make_strange(
        [ase_molecule(name) for name in names], np.random.default_rng(0), ions=False
    )
    return {kind: [s.atoms for s in strange if s.kind == kind] for kind in DESCRIPTIONS}


def test_one_bond_is_stretched_and_no_other() -> None:
    (torn,) = made_of("CH3CH2OH")["stretched bond"]
    start = ase_molecule("CH3CH2OH")
    changed = {
        (i, j): torn.get_distance(i, j) / start.get_distance(i, j) for i, j in bonded_pairs(start)
    }
    other = [ratio for ratio in changed.values() if abs(ratio - 1.0) > 1e-9]
    assert len(other) == 1
    assert 1.8 <= other[0] <= 2.5


def test_heavy_atoms_are_pressed_to_half_their_distance() -> None:
    (pressed,) = made_of("C2H6")["pressed together"]
    assert pressed.get_distance(0, 1) == pytest.approx(
        0.5 * ase_molecule("C2H6").get_distance(0, 1)
    )


def test_a_ring_has_no_bond_that_can_be_pressed() -> None:
    assert made_of("C6H6")["pressed together"] == []


def test_what_is_taken_away_or_exchanged_leaves_the_rest_where_it_was() -> None:
    start = ase_molecule("CH3CH2OH")
    found = made_of("CH3CH2OH")
    (skeleton,), (radical,), (swapped,) = (
        found[kind] for kind in ("without hydrogens", "radical", "swapped elements")
    )
    assert 1 not in skeleton.numbers
    np.testing.assert_array_equal(skeleton.positions, start.positions[start.numbers > 1])
    assert len(radical) == len(start) - 1
    assert radical.numbers.sum() == start.numbers.sum() - 1
    np.testing.assert_array_equal(swapped.positions, start.positions)
    assert (swapped.numbers != start.numbers).sum() == 1


def test_the_atoms_of_the_gas_are_those_of_the_molecule_and_apart() -> None:
    (gas,) = made_of("C6H6")["random gas"]
    assert sorted(gas.numbers) == sorted(ase_molecule("C6H6").numbers)
    assert gas.get_all_distances()[np.triu_indices(len(gas), 1)].min() >= 0.8


def test_ions_are_charged_zwitterions_are_not_and_the_gateway_counts_electrons() -> None:
    strange = make_strange([], np.random.default_rng(0))
    charges = {
        kind: [electrons_of(s.atoms)[0] for s in strange if s.kind == kind]
        for kind in ("ion", "zwitterion")
    }
    assert set(charges["ion"]) == {-1, 1}
    assert set(charges["zwitterion"]) == {0}
    # Whoever forgets to tell the charge is still warned: the electrons are odd.
    untold = [Atoms(s.atoms.numbers, s.atoms.positions) for s in strange if s.kind == "ion"]
    batch = StructureBatch.from_atoms(untold)
    assert len(composition_warnings(batch)) == len(untold)


def test_the_teacher_is_told_the_charge() -> None:
    strange = make_strange([], np.random.default_rng(0))
    acetate = next(s.atoms for s in strange if s.atoms.info["charge"] == -1)
    asked = acetate.copy()
    asked.calc = make_teacher(TEACHER)
    asked.get_potential_energy()
    assert asked.calc.results["charges"].sum() == pytest.approx(-1.0, abs=1e-6)


def test_every_kind_is_judged_against_the_test_frames(
    frames: Dataset, runtime: FakeRuntime
) -> None:
    held_out = predict_held_out(runtime, frames)
    toy = Subject("toy", RuntimePotential(runtime), lambda: pytest.fail("not asked for"), TEACHER)
    section = novelty_section(toy, held_out, NoveltySettings(structures=3))
    kinds = section.data["kinds"]
    assert set(kinds) == set(DESCRIPTIONS)
    # The toy's novelty counts neighbors: fewer without hydrogens, more when pressed together.
    assert kinds["without hydrogens"]["auroc"] < 0.5 < kinds["pressed together"]["auroc"]
    assert kinds["ion"]["gateway_warns"] == kinds["radical"]["gateway_warns"] == 1.0
    assert kinds["stretched bond"]["gateway_warns"] == 0.0
    assert kinds["ion"]["teacher_converged"] == kinds["ion"]["structures"]
    assert "without hydrogens" in section.markdown.split("does not reliably find")[1]
    # To a method that knows charges, ions are nothing strange.
    charged = replace(held_out, charges=np.zeros(len(frames.atomic_numbers)))
    judged = novelty_section(toy, charged, NoveltySettings(structures=3))
    assert set(judged.data["kinds"]) == set(DESCRIPTIONS) - {"ion", "zwitterion"}
    assert "Ions were given" in section.markdown
    assert "Ions were given" not in judged.markdown
