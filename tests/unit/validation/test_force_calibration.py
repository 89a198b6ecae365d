"""The uncertainty of forces covers what it says, whatever a few molecules do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forcegate_client.dataset import load_dataset
from forcegate_client.force_uncertainty import disagreement
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.fake import FakeRuntime, write_fake_model
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.validation.accuracy.heldout import predict_held_out
from forcegate_trainer.validation.confidence.force_calibration import calibrate_forces, fit_sigma

SCALE, FLOOR = 1.7, 0.02
MOLECULES, ATOMS = 200, 40


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Disagreements, and normal errors that are as large as they should be by them."""
    rng = np.random.default_rng(0)
    molecule = np.repeat(np.arange(MOLECULES), ATOMS)
    apart = np.exp(rng.normal(-3.0, 1.0, len(molecule)))
    sigma = np.hypot(SCALE * apart, FLOOR)
    errors = np.abs(rng.normal(size=(len(molecule), 3)) * sigma[:, None])
    return apart, errors, molecule


def covered(apart: np.ndarray, errors: np.ndarray, scale: float, floor: float) -> float:
    return float((errors <= 1.645 * np.hypot(scale * apart, floor)[:, None]).mean())


def test_what_errors_were_drawn_by_is_found(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    apart, errors, molecule = drawn
    scale, floor = fit_sigma(apart, errors, molecule)
    assert scale == pytest.approx(SCALE, rel=0.06)
    assert floor == pytest.approx(FLOOR, rel=0.3)
    for part in np.array_split(np.argsort(apart), 5):
        assert covered(apart[part], errors[part], scale, floor) == pytest.approx(0.9, abs=0.03)


def test_one_molecule_that_both_get_wrong_moves_nothing(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    apart, errors, molecule = drawn
    spoilt = errors.copy()
    spoilt[molecule == 7] = 50.0
    before, after = fit_sigma(apart, errors, molecule), fit_sigma(apart, spoilt, molecule)
    assert after[0] == pytest.approx(before[0], rel=0.05)


def test_large_molecules_count_no_more_than_small_ones() -> None:
    rng = np.random.default_rng(1)
    # One of 4,000 atoms whose errors are ten times those of a hundred small ones.
    molecule = np.concatenate([np.repeat(np.arange(100), 10), np.full(4000, 100)])
    apart = np.full(len(molecule), 0.1)
    errors = np.abs(rng.normal(scale=0.1, size=(len(molecule), 3)))
    errors[molecule == 100] *= 10.0
    scale, floor = fit_sigma(apart, errors, molecule)
    assert np.hypot(scale * 0.1, floor) == pytest.approx(0.1, rel=0.15)


def test_disagreement_is_that_of_an_atom_and_of_its_structure() -> None:
    own, others = np.zeros((4, 3)), np.zeros((4, 3))
    others[0] = 0.3
    found = disagreement(own, others, np.array([2, 2]))
    assert found.tolist() == pytest.approx([0.3 * np.sqrt(0.75), 0.3 * np.sqrt(0.25), 0.0, 0.0])
    assert disagreement(own[:0], others[:0], np.zeros(0, dtype=np.int64)).shape == (0,)


class Noisy(FakeRuntime):
    """The toy with errors of its own, larger where the toy's novelty is."""

    seed = 0

    def evaluate(self, graph: Graph) -> ModelOutput:
        output = super().evaluate(graph)
        rng = np.random.default_rng((self.seed, len(self.batches)))
        size = 0.02 * output.atom_novelty[:, None]
        return output._replace(forces=output.forces + size * rng.normal(size=output.forces.shape))


def test_two_students_with_errors_of_their_own_tell_of_each_other(
    tmp_path: Path, dataset_file: Path
) -> None:
    exact = FakeRuntime(write_fake_model(tmp_path, "exact"))
    one, other = (Noisy(write_fake_model(tmp_path, name)) for name in ("one", "other"))
    other.seed = 1
    frames = load_dataset(dataset_file)
    truth = replace(frames, forces=predict_held_out(exact, frames).forces)
    found = calibrate_forces(one, other, truth)
    assert found.coverage == pytest.approx(0.9, abs=0.03)
    assert found.spearman is not None
    assert found.spearman > 0.5
    with pytest.raises(SettingsError, match="another student"):
        calibrate_forces(one, one, truth)


class Miscounting(Noisy):
    """It takes every atom for a cation, which no server would answer with."""

    def evaluate(self, graph: Graph) -> ModelOutput:
        output = super().evaluate(graph)
        assert output.charges is not None
        return output._replace(charges=output.charges + 1.0)


def test_what_one_of_two_students_would_refuse_does_not_keep_them_from_being_compared(
    tmp_path: Path, dataset_file: Path
) -> None:
    own = Noisy(write_fake_model(tmp_path, "own", interface=2))
    partner = Miscounting(write_fake_model(tmp_path, "partner", interface=2))
    partner.seed = 1
    frames = load_dataset(dataset_file)
    # The toy takes every structure for a neutral one, and so would refuse the first molecule.
    charge = np.zeros(len(frames.molecules), dtype=np.int64)
    charge[frames.molecule_id[0]] = 1
    kept = int((frames.molecule_id != frames.molecule_id[0]).sum())
    exact = predict_held_out(FakeRuntime(write_fake_model(tmp_path, "exact")), frames)
    molecules = replace(frames.molecules, charge=charge)
    truth = replace(frames, forces=exact.forces, molecules=molecules)
    found = calibrate_forces(own, partner, truth)
    assert found.frames == kept
    assert found.coverage == pytest.approx(0.9, abs=0.03)
