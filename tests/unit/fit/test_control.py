"""When a run stops, where it begins, what it writes down, and where it computes."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.batch import frame_batch
from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.data import load_training_data
from forcegate_trainer.fit.graphs import FrameGraphs
from forcegate_trainer.fit.loop import new_student
from forcegate_trainer.fit.optimizers import energy_weight
from forcegate_trainer.fit.run import fit
from forcegate_trainer.fit.start import find_start
from forcegate_trainer.fit.state import RunState
from forcegate_trainer.fit.step import TrainingStep
from forcegate_trainer.network.config import PRESETS
from forcegate_trainer.network.potential import Potential
from forcegate_trainer.network.storage import (
    CHECKPOINT_NAME,
    CONFIG_NAME,
    METRICS_NAME,
    WEIGHTS_NAME,
    load_checkpoint,
    save_checkpoint,
)
from support.runs import small_config


def _quiet(step: int, total: int, known: dict[str, float]) -> None:
    """A progress report that nobody reads."""


def _rows(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / METRICS_NAME).read_text().splitlines()]
    for row in rows:
        row.pop("frames_per_s")  # of the clock, and of nothing else
    return rows


def _assert_same_run(one: Path, other: Path) -> None:
    first, second = (load_checkpoint(folder / CHECKPOINT_NAME) for folder in (one, other))
    for part in ("model", "average"):
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), f"{part} {name}"
    for one_state, other_state in zip(first["optimizers"], second["optimizers"], strict=True):
        known, moments = one_state["state"], other_state["state"]
        assert known.keys() == moments.keys()
        for number, values in known.items():
            for name, value in values.items():
                assert torch.equal(value, moments[number][name]), f"optimizer {number} {name}"
    assert _rows(one) == _rows(other)


_KILLED_AFTER_ITS_ROW = """
import os, signal, sys
from pathlib import Path
from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.journal import Journal
from forcegate_trainer.fit.run import fit

write = Journal.validation

def write_and_die(self, step, row):
    write(self, step, row)
    if step == 10:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.validation = write_and_die
folder = Path(sys.argv[1])
fit(FitConfig.load(folder / "wanted.json"), folder, lambda *known: None)
"""


def test_a_run_killed_between_a_row_and_its_checkpoint_repeats_neither_row_nor_step(
    dataset_file: Path, tmp_path: Path
) -> None:
    config = small_config(dataset_file, epochs=3, checkpoint_steps=3)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    config.save(killed / "wanted.json")
    done = subprocess.run(
        [sys.executable, "-c", _KILLED_AFTER_ITS_ROW, str(killed)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    assert _rows(killed)[-1]["step"] == 10
    assert load_checkpoint(killed / CHECKPOINT_NAME)["step"] == 9
    fit(config, killed, _quiet)
    fit(config, whole, _quiet)
    _assert_same_run(killed, whole)


def test_a_row_cut_in_half_by_a_crash_is_written_again(dataset_file: Path, tmp_path: Path) -> None:
    config = small_config(dataset_file, epochs=2)
    fit(replace(config, epochs=1), tmp_path, _quiet)
    with (tmp_path / METRICS_NAME).open("a") as stream:
        stream.write('{"step": 10, "frames')
    fit(config, tmp_path, _quiet)
    assert [row["step"] for row in _rows(tmp_path)] == [5, 10]


def test_a_run_validates_when_it_is_told_to_and_at_its_end(
    dataset_file: Path, tmp_path: Path
) -> None:
    config = small_config(dataset_file, steps=11, validate_steps=4)
    fit(config, tmp_path, _quiet)
    assert [row["step"] for row in _rows(tmp_path)] == [4, 8, 11]


def _impatient(dataset: Path, **changes: object) -> FitConfig:
    # Without a step to speak of no validation after the first one is better.
    still = {"learning_rate": 0.0, "final_learning_rate": 0.0, "epochs": 20}
    return small_config(dataset, patience=3, **(still | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_gets_no_better_loses_its_patience(
    dataset_file: Path, tmp_path: Path, workers: int
) -> None:
    fit(_impatient(dataset_file, workers=workers), tmp_path, _quiet)
    assert len(_rows(tmp_path)) == 4


def test_patience_outlives_an_interruption(dataset_file: Path, tmp_path: Path) -> None:
    config = _impatient(dataset_file)

    def stop(step: int, total: int, known: dict[str, float]) -> None:
        if step == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(config, tmp_path, stop)
    assert len(_rows(tmp_path)) == 2
    fit(config, tmp_path, _quiet)
    assert len(_rows(tmp_path)) == 4
    # It has ended: another call adds nothing, more patience does.
    fit(config, tmp_path, _quiet)
    assert len(_rows(tmp_path)) == 4
    fit(replace(config, patience=5), tmp_path, _quiet)
    assert len(_rows(tmp_path)) == 6


@pytest.fixture(scope="module")
def curves(dataset_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run stopped at step 42 beyond its last checkpoint, continued to step 60."""
    folder = tmp_path_factory.mktemp("curves")
    config = small_config(dataset_file, epochs=12, checkpoint_steps=1000, validate_steps=15)

    def stop(step: int, total: int, known: dict[str, float]) -> None:
        if step == 42:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(config, folder, stop, curves=True)
    fit(config, folder, _quiet, curves=True)
    return folder


def test_curves_go_on_after_an_interruption_with_each_step_once(curves: Path) -> None:
    events = EventAccumulator(str(curves / "tensorboard"))
    events.Reload()
    steps = [event.step for event in events.Scalars("training/loss")]
    assert steps == [20, 40, 60]
    rows = _rows(curves)
    assert [row["step"] for row in rows] == [15, 30, 45, 60]
    points = events.Scalars("validation/force_rmse")
    assert [point.step for point in points] == [15, 30, 45, 60]
    assert [point.value for point in points] == pytest.approx([row["force_rmse"] for row in rows])
    force, energy, loss = (
        events.Scalars(f"training/{name}")[-1].value for name in ("force", "energy", "loss")
    )
    assert loss == pytest.approx(force + 5.0 * energy, rel=1e-5)


def test_a_run_begins_with_the_function_that_it_starts_from(
    run_folder: Path, exported: Path, dataset_file: Path
) -> None:
    config = small_config(dataset_file, seed=7)
    data = load_training_data(config)
    graphs = FrameGraphs.build(data.validation, 5.0)
    batch = frame_batch(data.validation, graphs, np.arange(len(data.validation)))
    best = Potential(config.architecture)
    best.load_state_dict(load_checkpoint(run_folder / "best.pt"))
    energies, forces, *_ = best.evaluate(*batch.inputs)
    for source in (run_folder, exported):
        start = find_start(source, config.architecture)
        model = new_student(replace(config, start=start), data)
        found, found_forces, *_ = model.evaluate(*batch.inputs)
        assert torch.equal(found_forces, forces)
        # An export has moved the zero of each element.
        assert torch.equal(found, energies) or source == exported
        assert not model.uncertainty_factor.any()


def test_the_best_weights_are_those_with_the_smallest_loss_of_the_end(dataset_file: Path) -> None:
    """Forces that get a little worse for energies that get much better are an improvement."""
    config = small_config(dataset_file, energy_weight=5.0, late_energy_weight=25.0)
    parts = TrainingStep(Potential(config.architecture), config)
    rows = [
        {"force_rmse": rmse, "force_mae": mae, "energy_mae_mev_per_atom": energy}
        for rmse, mae, energy in ((0.0870, 0.0547, 5.8), (0.0877, 0.0550, 5.0), (0.08, 0.054, 5.9))
    ]
    late, early = (RunState(parts, weight) for weight in (25.0, 0.0))
    assert [late.validated(row) for row in rows] == [True, True, False]
    assert late.since_best == 1
    assert [early.validated(row) for row in rows] == [True, False, True]
    assert energy_weight(1000, 1000, config) == 25.0


def test_a_start_is_stored_and_its_optimiser_is_fresh(
    run_folder: Path, dataset_file: Path, tmp_path: Path
) -> None:
    config = small_config(dataset_file, steps=1)
    config = replace(config, start=find_start(run_folder, config.architecture))
    fit(config, tmp_path, _quiet)
    stored = FitConfig.load(tmp_path / CONFIG_NAME)
    assert stored == config
    assert stored.start is not None
    assert stored.start.digest.startswith("sha256:")
    adamw, _ = load_checkpoint(tmp_path / CHECKPOINT_NAME)["optimizers"]
    assert {int(state["step"]) for state in adamw["state"].values()} == {1}


def test_a_run_of_an_earlier_release_is_continued(dataset_file: Path, tmp_path: Path) -> None:
    """Its settings name no optimiser, and its checkpoint has the state of one, AdamW."""
    config = small_config(dataset_file, epochs=2, optimizer="adamw")
    fit(config, tmp_path / "whole", _quiet)
    folder = tmp_path / "earlier"
    fit(replace(config, epochs=1), folder, _quiet)
    settings = json.loads((folder / CONFIG_NAME).read_text())
    del settings["optimizer"]
    (folder / CONFIG_NAME).write_text(json.dumps(settings))
    checkpoint = load_checkpoint(folder / CHECKPOINT_NAME)
    (checkpoint["optimizer"],) = checkpoint.pop("optimizers")
    save_checkpoint(checkpoint, folder / CHECKPOINT_NAME)
    fit(replace(FitConfig.load(folder / CONFIG_NAME), epochs=2), folder, _quiet)
    assert load_checkpoint(folder / CHECKPOINT_NAME)["step"] == 2 * checkpoint["step"]


def test_another_shape_or_no_run_at_all_is_no_start(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected PaiNNConfig"):
        find_start(run_folder, PRESETS["painn_tiny"])
    with pytest.raises(SettingsError, match=r"neither best\.pt nor"):
        find_start(tmp_path, PRESETS["painn_tiny"])


def test_a_start_whose_weights_have_changed_is_refused(
    run_folder: Path, dataset_file: Path, tmp_path: Path
) -> None:
    config = small_config(dataset_file)
    start = replace(find_start(run_folder, config.architecture), digest="sha256:" + 64 * "0")
    with pytest.raises(SettingsError, match="as when the run was set up"):
        fit(replace(config, start=start), tmp_path, _quiet)


def test_the_energy_gains_weight_in_the_last_fifth_alone(dataset_file: Path) -> None:
    config = small_config(dataset_file, energy_weight=5.0)
    assert {energy_weight(step, 100, config) for step in range(101)} == {5.0}
    late = replace(config, late_energy_weight=25.0)
    weights = [energy_weight(step, 100, late) for step in range(101)]
    assert weights[:81] == [5.0] * 81
    assert weights[90] == pytest.approx(15.0)
    assert weights[100] == pytest.approx(25.0)


def test_a_step_weighs_the_energy_as_it_is_told(dataset_file: Path) -> None:
    config = small_config(dataset_file)
    data = load_training_data(config)
    graphs = FrameGraphs.build(data.training, 5.0)
    batch = frame_batch(data.training, graphs, np.arange(4))
    for weight, told in ((5.0, None), (25.0, 25.0)):
        take_step = TrainingStep(new_student(config, data), config)
        taken = take_step.read(take_step(batch, 0.0, 0, told))
        assert taken.loss == pytest.approx(taken.errors["force"] + weight * taken.errors["energy"])


def test_a_run_may_end_otherwise_than_it_was_begun_to(dataset_file: Path, tmp_path: Path) -> None:
    config = small_config(dataset_file, epochs=3, late_energy_weight=1e-3)
    fit(config, tmp_path, _quiet)
    begun = (tmp_path / WEIGHTS_NAME).read_bytes()
    # A thousand times the weight: no loss of the beginning is as large.
    heavier = replace(config, epochs=6, late_energy_weight=1e3)
    fit(heavier, tmp_path, _quiet)
    assert (tmp_path / WEIGHTS_NAME).read_bytes() != begun


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_gradient_that_is_not_finite_moves_no_weight_then_or_later(
    dataset_file: Path, optimizer: str
) -> None:
    config = small_config(dataset_file, optimizer=optimizer)
    data = load_training_data(config)
    graphs = FrameGraphs.build(data.training, 5.0)
    batches = [frame_batch(data.training, graphs, np.arange(4 * k, 4 * k + 4)) for k in range(3)]
    lost = replace(batches[1], forces=torch.full_like(batches[1].forces, torch.nan))
    plain, disturbed = (TrainingStep(new_student(config, data), config) for _ in range(2))
    plain(batches[0], 1e-3, 0)
    disturbed(batches[0], 1e-3, 0)
    before = [weights.clone() for weights in disturbed.model.parameters()]
    assert not np.isfinite(disturbed.read(disturbed(lost, 1e-3, 1)).norm)
    for weights, were in zip(disturbed.model.parameters(), before, strict=True):
        assert torch.equal(weights, were)
    plain(batches[2], 1e-3, 1)
    disturbed(batches[2], 1e-3, 2)
    for one, other in zip(plain.model.parameters(), disturbed.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_written(
    dataset_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(SettingsError, match="use --device cpu"):
        fit(small_config(dataset_file, device="cuda"), folder, _quiet)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"device": "cuda", "workers": 2}, "expected one"),
        ({"tf32": True}, "--device cuda"),
        ({"patience": -1}, "0 or more"),
        ({"ema_decay": 1.0}, "less than 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    dataset_file: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        small_config(dataset_file, **changes)


def test_a_device_that_is_unknown_is_refused(dataset_file: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected cpu or cuda"):
        fit(small_config(dataset_file, device="tpu"), tmp_path, _quiet)


def test_all_of_a_batch_goes_to_the_device_of_the_student(dataset_file: Path) -> None:
    config = small_config(dataset_file)
    data = load_training_data(config)
    graphs = FrameGraphs.build(data.training, 5.0)
    batch = frame_batch(data.training, graphs, np.arange(4))
    # No GPU is needed to see whether anything stayed behind: a meta device computes shapes alone,
    # and refuses to mix its tensors with others.
    elsewhere = torch.device("meta")
    model = Potential(config.architecture).to(elsewhere)
    step = TrainingStep(model, config)
    moved = batch.to(step.device)
    energy, forces, _, _, _ = model.evaluate(*moved.inputs)
    assert energy.device == forces.device == moved.energies.device == elsewhere
    assert (energy.shape, forces.shape) == (batch.energies.shape, batch.forces.shape)
