"""Validate an exported version: held-out molecules, dynamics, report, card."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from forcegate_client.dataset import Dataset, load_dataset
from forcegate_client.nve import steps_in
from forcegate_service.embedded import EmbeddedRuntime
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.reporting import Tell
from forcegate_trainer.validation.calculator import RuntimeCalculator
from forcegate_trainer.validation.dynamics import (
    SUITE,
    Trajectory,
    molecule_from_smiles,
    run_trajectory,
)
from forcegate_trainer.validation.heldout import HeldOut, predict_held_out
from forcegate_trainer.validation.report import write_report
from forcegate_trainer.validation.similarity import nearest_similarity

__all__ = ["validate"]

_TIMESTEP_FS = 0.5


def validate(
    folder: Path,
    test: Path,
    training: Path,
    report: Path,
    duration_ps: float,
    tell: Tell,
) -> HeldOut:
    """Load ``folder`` as the gateway would, measure it, write the report and the card.

    ``test`` holds labelled frames of the test split, ``training`` the train split it was fitted
    to. ``duration_ps`` of microcanonical dynamics per suite molecule; 0 leaves them out.

    Raises:
        ModelRefused: if the files do not match the card.
        SettingsError: if a test molecule occurs in the training data, or the teacher is another.
    """
    runtime = EmbeddedRuntime(folder)
    card = runtime.card
    dataset = load_dataset(test)
    dataset = dataset.select(dataset.frame_indices("test"))
    known = load_dataset(training)
    known = known.select(known.frame_indices("train"))
    _check(dataset, known, str(card.teacher["name"]))
    held_out = predict_held_out(runtime, dataset, card.cutoff, tell)
    smiles = [dataset.molecules.smiles[row] for row in sorted(set(dataset.molecule_id.tolist()))]
    trained = [text for text in known.molecules.smiles if "." not in text]
    similarity = dict(zip(smiles, nearest_similarity(smiles, trained), strict=True))
    calculator = RuntimeCalculator(runtime, card.cutoff)
    trajectories = []
    if duration_ps > 0:
        for name, text in SUITE.items():
            title = f"{duration_ps:g} ps of {name}"
            total = steps_in(duration_ps, _TIMESTEP_FS)
            steps = itertools.count(1)
            trajectories.append(
                run_trajectory(
                    name,
                    molecule_from_smiles(text),
                    calculator,
                    str(card.teacher["name"]),
                    temperature_K=300.0,
                    timestep_fs=_TIMESTEP_FS,
                    duration_ps=duration_ps,
                    on_sample=partial(_tell_step, tell, title, steps, total),
                )
            )
    write_report(report, card, held_out, similarity, trajectories)
    metrics = {**card.metrics, "test": held_out.summary(), "dynamics": _figures(trajectories)}
    card.model_copy(update={"metrics": metrics}).save(folder)
    runtime.close()
    return held_out


def _tell_step(tell: Tell, title: str, steps: Iterator[int], total: int, monitor: object) -> None:
    tell(title, min(next(steps), total), total)


def _check(test: Dataset, training: Dataset, teacher: str) -> None:
    # The key of a dimer is its monomers' keys, joined by a dot.
    trained = {part for key in training.molecules.split_key for part in key.split(".")}
    seen = trained & {part for key in test.molecules.split_key for part in key.split(".")}
    if seen:
        raise SettingsError(
            f"received a test set that shares {len(seen)} molecules with the training data, among "
            f"them {min(seen)}; expected molecules never trained on"
        )
    if test.teacher is None or test.teacher.name != teacher:
        name = "none" if test.teacher is None else test.teacher.name
        raise SettingsError(f"received labels by {name}; expected the model's teacher {teacher}")


def _figures(trajectories: list[Trajectory]) -> dict[str, dict[str, object]]:
    return {
        run.name: {
            "duration_ps": run.report.md.duration_ps,
            "drift_mev_per_atom_per_ps": run.report.drift
            and run.report.drift.slope_mev_per_atom_per_ps,
            "drift_standard_error": run.report.drift
            and run.report.drift.standard_error_mev_per_atom_per_ps,
            "mean_temperature_k": run.report.md.mean_temperature_k,
            "bonds_intact": run.bonds_intact,
            "teacher_force_rmse": run.teacher_force_rmse,
        }
        for run in trajectories
    }
