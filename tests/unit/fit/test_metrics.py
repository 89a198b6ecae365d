"""A metric means what its name says."""

import numpy as np
import pytest

from forcegate_trainer.metrics import energy_metrics, force_metrics

RNG = np.random.default_rng(0)


def test_perfect_forces_have_r2_one_and_no_error() -> None:
    forces = RNG.normal(size=(50, 3))
    metrics = force_metrics(forces, forces)
    assert metrics["force_r2"] == 1.0
    assert metrics["force_rmse"] == metrics["force_mae"] == 0.0
    assert metrics["force_angle"] == pytest.approx(0.0, abs=1e-5)


def test_r2_is_over_pooled_components_so_that_forces_of_the_right_size_do_not_suffice() -> None:
    forces = RNG.normal(size=(4000, 3))
    # Same magnitudes, random directions: an R² of magnitudes would be 1.
    other = RNG.normal(size=(4000, 3))
    other *= np.linalg.norm(forces, axis=1, keepdims=True) / np.linalg.norm(
        other, axis=1, keepdims=True
    )
    metrics = force_metrics(other, forces)
    assert metrics["force_r2"] < -0.8
    assert metrics["force_angle"] == pytest.approx(90.0, abs=2.0)


def test_rmse_and_mae_are_per_component() -> None:
    reference = RNG.normal(size=(100, 3))
    metrics = force_metrics(reference + np.array([0.3, 0.0, 0.0]), reference)
    assert metrics["force_mae"] == pytest.approx(0.1)
    assert metrics["force_rmse"] == pytest.approx(0.3 / np.sqrt(3))


def test_the_angle_is_that_between_the_vectors() -> None:
    reference = np.tile([1.0, 0.0, 0.0], (10, 1))
    turned = np.tile([np.cos(0.2), np.sin(0.2), 0.0], (10, 1))
    assert force_metrics(turned, reference)["force_angle"] == pytest.approx(np.degrees(0.2))


def test_energy_errors_are_per_atom_in_mev() -> None:
    metrics = energy_metrics(np.array([1.02, 5.0]), np.array([1.0, 5.04]), np.array([2, 4]))
    assert metrics["energy_mae_mev_per_atom"] == pytest.approx(10.0)
