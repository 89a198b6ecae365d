"""What the teacher says of the forces along the student's own trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from forcegate_trainer.metrics import force_metrics
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import ACCENT, INK, STUDENT, clean, number, table
from forcegate_trainer.validation.dynamics.figures import short_name, tall_figure
from forcegate_trainer.validation.dynamics.molecule_run import MoleculeRun
from forcegate_trainer.validation.molecules import in_markdown
from forcegate_trainer.validation.points import teacher_points
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.settings import NVESettings
from forcegate_trainer.validation.verdict import limit_of

__all__ = ["ForceErrors", "measure_force_errors", "plot_force_errors", "trajectory_section"]


@dataclass(frozen=True)
class ForceErrors:
    """Errors in eV/Å over ``frames`` frames of a molecule; ``failed`` more have no reference.

    ``metrics`` are those of ``force_metrics``, None without any frame.
    """

    molecule: str
    frames: int
    failed: int
    metrics: dict[str, float] | None


def measure_force_errors(
    runs: Sequence[MoleculeRun], teacher: str, tell: Tell = tell_nobody
) -> tuple[list[ForceErrors], ForceErrors]:
    """Errors for each run's frames, and pooled over all frames of all runs.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found, student, reference = [], [], []
    for done, run in enumerate(runs):
        frames = run.report.frames
        points = teacher_points(teacher, frames)
        pairs = [
            (frame.get_forces(), point.forces)
            for frame, point in zip(frames, points, strict=True)
            if point is not None
        ]
        found.append(_errors(run.name, pairs, len(frames) - len(pairs)))
        student += [pair[0] for pair in pairs]
        reference += [pair[1] for pair in pairs]
        tell("trajectories shown to the teacher", done + 1, len(runs))
    failed = sum(one.failed for one in found)
    return found, _errors("all", list(zip(student, reference, strict=True)), failed)


def trajectory_section(
    runs: Sequence[MoleculeRun], settings: NVESettings, teacher: str, tell: Tell = tell_nobody
) -> Section:
    """Force errors on frames of ``runs``, which all had these ``settings``.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found, pooled = measure_force_errors(runs, teacher, tell)
    spacing = settings.duration_ps / settings.frames
    limit = limit_of("trajectory_force_rmse")
    measured = [one for one in found if one.metrics is not None]
    rows = [
        (in_markdown(one.molecule), one.frames, *_cells(one.metrics), one.failed) for one in found
    ]
    rows.append(("all", pooled.frames, *_cells(pooled.metrics), pooled.failed))
    text = [
        f"Frames every {spacing:g} ps of the runs at {settings.title} were labelled by "
        f"`{teacher}`. A trajectory goes where the student leads it, so this is the error that "
        "a user's simulation has, which errors on the teacher's frames need not be. RMSE and MAE "
        "are over force components; the last line pools the components of all frames.",
        table(("molecule", "frames", "RMSE, eV/Å", "MAE, eV/Å", "angle, °", "not converged"), rows),
    ]
    if measured:
        text.insert(1, "![force error along each trajectory](trajectory_forces.png)")
    lost = [run.name for run in runs if len(run.report.frames) < settings.frames]
    if lost:
        text.append(
            "Fewer frames, because the run ended early: " + ", ".join(map(in_markdown, lost)) + "."
        )
    known = pooled.metrics is not None and not any(one.metrics is None for one in found)
    return Section(
        title="Force error along the trajectory",
        markdown="\n\n".join(text),
        figures={"trajectory_forces": plot_force_errors(measured, pooled, limit)}
        if measured
        else {},
        data={
            "teacher": teacher,
            "spacing_ps": spacing,
            "pooled": _json(pooled),
            "molecules": [_json(one) for one in found],
        },
        figures_for_verdict=(
            {"trajectory_force_rmse": pooled.metrics["force_rmse"]}
            if known and pooled.metrics is not None
            else {}
        ),
    )


def _errors(name: str, pairs: Sequence[Any], failed: int) -> ForceErrors:
    if not pairs:
        return ForceErrors(name, 0, failed, None)
    student, reference = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return ForceErrors(name, len(pairs), failed, _finite(force_metrics(student, reference)))


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    # Among forces below the floor of angles there is no angle to average.
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def _cells(metrics: dict[str, float] | None) -> tuple[str, str, str]:
    metrics = metrics or {}
    return (
        number(metrics.get("force_rmse"), 3),
        number(metrics.get("force_mae"), 3),
        number(metrics.get("force_angle"), 1),
    )


def _json(one: ForceErrors) -> dict[str, Any]:
    return {
        "molecule": one.molecule,
        "frames": one.frames,
        "not_converged": one.failed,
        **(one.metrics or {"force_rmse": None, "force_mae": None}),
    }


def plot_force_errors(found: Sequence[ForceErrors], pooled: ForceErrors, limit: float) -> Figure:
    """RMSE and MAE of each molecule in eV/Å against the limit of the pooled RMSE."""
    figure = tall_figure(len(found))
    axis = figure.subplots()
    errors = [one.metrics for one in reversed(found) if one.metrics is not None]
    rows = np.arange(len(errors))
    axis.barh(rows, [e["force_rmse"] for e in errors], color=STUDENT, alpha=0.5, label="RMSE")
    axis.barh(rows, [e["force_mae"] for e in errors], height=0.4, color=STUDENT, label="MAE")
    if pooled.metrics is not None:
        axis.axvline(pooled.metrics["force_rmse"], color=INK, lw=1.0, ls="--", label="pooled RMSE")
    axis.axvline(limit, color=ACCENT, lw=1.2, label=f"limit {limit:g}")
    axis.set_yticks(rows, [short_name(one.molecule) for one in reversed(found)], fontsize=8)
    axis.set_xlabel("force error against the teacher on the student's trajectory / eV/Å")
    axis.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4)
    clean(axis)
    return figure
