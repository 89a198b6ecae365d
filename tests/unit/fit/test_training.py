"""What must hold for a training run, however long."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forcegate_client.dataset import load_dataset, write_dataset
from forcegate_trainer.errors import SettingsError, TrainingDivergedError
from forcegate_trainer.fit.batch import epoch_order
from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.evaluation import predicted_energies
from forcegate_trainer.fit.optimizers import WeightAverage, learning_rate
from forcegate_trainer.fit.reference import fit_reference_energies, settle_zero
from forcegate_trainer.fit.run import fit
from forcegate_trainer.network.config import PRESETS
from forcegate_trainer.network.potential import Potential
from forcegate_trainer.network.storage import CHECKPOINT_NAME, METRICS_NAME, load_checkpoint
from support.datasets import labelled_dataset
from support.runs import small_config


def _quiet(step: int, total: int, known: dict[str, float]) -> None:
    """A progress report that nobody reads."""


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    dataset_file: Path, tmp_path: Path
) -> None:
    config = small_config(dataset_file, epochs=4, checkpoint_steps=3)
    fit(config, tmp_path / "whole", _quiet)

    def stop(step: int, total: int, known: dict[str, float]) -> None:
        if step == 14:  # two steps after a checkpoint in the middle of an epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(config, tmp_path / "cut", stop)
    assert load_checkpoint(tmp_path / "cut" / CHECKPOINT_NAME)["step"] == 12
    fit(config, tmp_path / "cut", _quiet)

    whole = load_checkpoint(tmp_path / "whole" / CHECKPOINT_NAME)
    cut = load_checkpoint(tmp_path / "cut" / CHECKPOINT_NAME)
    for part in ("model", "average"):
        for name, value in whole[part].items():
            assert torch.equal(value, cut[part][name]), f"{part} {name}"


def test_two_workers_take_the_same_steps_as_one(dataset_file: Path, tmp_path: Path) -> None:
    weights = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        fit(small_config(dataset_file, epochs=6, workers=workers), folder, _quiet)
        model = load_checkpoint(folder / CHECKPOINT_NAME)["model"]
        weights.append(
            torch.cat([v.reshape(-1) for v in model.values() if v.dtype == torch.float32])
        )
    moved = (weights[1] - weights[0]).abs()
    # A step is about the learning rate, 1e-3. AdamW's first steps have the sign of the gradient,
    # so where that is zero but for rounding a weight may go either way.
    assert moved.quantile(0.99) < 1e-5


def test_training_makes_the_loss_smaller(dataset_file: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    config = small_config(dataset_file, epochs=30, learning_rate=3e-3)
    fit(config, tmp_path, lambda step, total, known: losses.append(known["loss"]))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 30
    assert rows[-1]["force_rmse"] < 0.9 * rows[0]["force_rmse"]
    assert losses[-1] < losses[0]


def test_a_dataset_without_labels_or_validation_molecules_is_refused(tmp_path: Path) -> None:
    dataset = labelled_dataset(frames_per_molecule=2)
    train_only = dataset.select(dataset.frame_indices("train"))
    path = tmp_path / "train.h5"
    write_dataset(path, train_only)
    with pytest.raises(SettingsError, match="0 validation frames"):
        fit(small_config(path), tmp_path / "run", _quiet)


def test_gradients_that_are_never_finite_again_stop_the_run(
    dataset_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingDivergedError, match="lower --learning-rate"):
        fit(
            small_config(dataset_file, learning_rate=1e30, epochs=20, validate_steps=1000),
            tmp_path,
            _quiet,
        )


def test_one_gradient_that_is_not_finite_is_left_out(
    dataset_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, calls = torch.nn.utils.clip_grad_norm_, []

    def overflowing(*arguments: Any) -> torch.Tensor:
        calls.append(clip(*arguments))
        return torch.tensor(math.inf) if len(calls) == 3 else calls[-1]

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", overflowing)
    fit(small_config(dataset_file, epochs=3), tmp_path, _quiet)
    assert len(calls) == load_checkpoint(tmp_path / CHECKPOINT_NAME)["step"]
    rows = (tmp_path / METRICS_NAME).read_text().splitlines()
    assert all(math.isfinite(json.loads(row)["force_rmse"]) for row in rows)


def test_every_epoch_visits_each_training_frame_once_in_its_own_order() -> None:
    frames = np.arange(100, 160)
    first, second = epoch_order(frames, 0, 0), epoch_order(frames, 0, 1)
    assert sorted(first) == sorted(second) == list(frames)
    assert (first != second).any()
    assert (epoch_order(frames, 0, 1) == second).all()


def test_a_zero_that_has_wandered_is_settled_whatever_single_frames_say(
    dataset_file: Path,
) -> None:
    dataset = load_dataset(dataset_file)
    config = small_config(dataset_file)
    model = Potential(config.architecture)
    cutoff = config.architecture.cutoff
    right = predicted_energies(model, dataset, cutoff)
    labels = right.copy()
    labels[::9] += 100.0
    model.reference_energies += torch.linspace(-0.05, 0.05, len(config.architecture.elements))
    train = np.arange(len(dataset))
    assert np.abs(predicted_energies(model, dataset, cutoff) - right).max() > 0.1
    told = replace(dataset, energies=labels)
    settle_zero(model, told, train, config.architecture, lambda *_: None)
    np.testing.assert_allclose(predicted_energies(model, dataset, cutoff), right, atol=1e-3)


def test_reference_energies_leave_no_part_of_the_energy_that_composition_explains(
    dataset_file: Path,
) -> None:
    dataset = load_dataset(dataset_file)
    train = dataset.frame_indices("train")
    elements = PRESETS["painn_base"].elements
    reference = dict(zip(elements, fit_reference_energies(dataset, train, elements), strict=True))
    residual, counts = [], []
    for frame in train:
        numbers = dataset.atomic_numbers[dataset.atoms_of(int(frame))]
        residual.append(dataset.energies[frame] - sum(reference[z] for z in numbers))
        counts.append([(numbers == z).sum() for z in elements])
    # Least squares: the residual is orthogonal to every element's counts.
    assert np.abs(np.array(counts).T @ np.array(residual)).max() < 1e-6


def test_an_element_that_never_occurs_in_training_is_refused(dataset_file: Path) -> None:
    dataset = load_dataset(dataset_file)
    train = dataset.frame_indices("train")
    with pytest.raises(SettingsError, match=r"without atomic numbers \[35\]"):
        fit_reference_energies(dataset, train, (1, 6, 7, 8, 9, 16, 17, 35))


def schedule_config() -> FitConfig:
    return FitConfig(
        model="painn_ultra_tiny",
        architecture=PRESETS["painn_ultra_tiny"],
        datasets=(),
        dataset_hash="",
        epochs=1,
        warmup_steps=100,
    )


def test_until_its_last_fifth_a_run_does_not_depend_on_its_length() -> None:
    config = schedule_config()
    for step in (0, 50, 99, 100, 500, 799):
        assert learning_rate(step, 1000, config) == learning_rate(step, 7000, config)
    assert learning_rate(799, 1000, config) == config.learning_rate


def test_the_learning_rate_warms_up_and_ends_at_its_final_value() -> None:
    config = schedule_config()
    rates = [learning_rate(step, 1000, config) for step in range(1001)]
    assert rates[0] < rates[50] < rates[99] <= config.learning_rate
    assert all(a >= b for a, b in pairwise(rates[100:]))
    assert rates[1000] == pytest.approx(config.final_learning_rate)


def test_the_weight_average_of_a_constant_is_that_constant() -> None:
    model = Potential(PRESETS["painn_ultra_tiny"])
    average = WeightAverage(model, 0.999)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(2.0)
    for step in range(5000):
        average.update(step)
    for parameter in average.model.parameters():
        assert torch.allclose(parameter, torch.tensor(2.0), atol=1e-3)
