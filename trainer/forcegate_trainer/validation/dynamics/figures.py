"""Figures of the sections on molecular dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from forcegate_trainer.reports import ACCENT, INK, STUDENT, clean
from forcegate_trainer.validation.dynamics.molecule_run import MoleculeRun
from forcegate_trainer.validation.dynamics.suite_runs import MDSeries

__all__ = [
    "plot_drifts",
    "plot_energies",
    "plot_survival",
    "plot_temperatures",
    "short_name",
    "tall_figure",
]

_LONGEST_NAME = 22
_MAX_POINTS = 1500
_ROW_INCHES = 0.24


def plot_drifts(
    runs: Sequence[MoleculeRun], control: Mapping[str, Mapping[str, Any]], limit: float
) -> Figure:
    """Drift of each molecule ± 2 SE in meV/atom/ps, the limit, and the teacher's control."""
    figure = tall_figure(len(runs))
    axis = figure.subplots()
    axis.axvspan(-limit, limit, color=STUDENT, alpha=0.12, label=f"within ± {limit:g}")
    rows = {run.name: row for row, run in enumerate(reversed(runs))}
    student = [(rows[run.name], run.drift) for run in runs if run.drift is not None]
    axis.errorbar(
        [drift.slope_mev_per_atom_per_ps for _, drift in student],
        [row for row, _ in student],
        xerr=[2.0 * drift.standard_error_mev_per_atom_per_ps for _, drift in student],
        fmt="o",
        color=STUDENT,
        ms=4,
        capsize=2,
        label="± 2 SE",
    )
    teacher = [
        (rows[name] - 0.3, summary)
        for name, summary in control.items()
        if name in rows and summary["drift_mev_per_atom_per_ps"] is not None
    ]
    if teacher:
        axis.errorbar(
            [summary["drift_mev_per_atom_per_ps"] for _, summary in teacher],
            [row for row, _ in teacher],
            xerr=[2.0 * summary["drift_standard_error"] for _, summary in teacher],
            fmt="s",
            color=INK,
            ms=3,
            capsize=2,
            label="teacher (control)",
        )
    axis.axvline(0.0, color=INK, lw=0.6)
    if max((drift.bound_mev_per_atom_per_ps for _, drift in student), default=0.0) > 20 * limit:
        # One bad molecule would otherwise hide all others.
        axis.set_xscale("symlog", linthresh=5 * limit)
    axis.set_yticks(list(rows.values()), [short_name(name) for name in rows], fontsize=8)
    axis.set_xlabel("drift of the total energy / meV/atom/ps")
    axis.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)
    clean(axis)
    return figure


def plot_energies(runs: Sequence[MoleculeRun]) -> Figure:
    """Total energy of each molecule in meV/atom from its mean: every sample, and block means."""
    columns = 4
    rows = -(-len(runs) // columns)
    figure = Figure(figsize=(11.0, 1.7 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axis, run in zip(axes, runs, strict=False):
        samples = run.report.samples
        clean(axis)
        axis.set_title(short_name(run.name), fontsize=8)
        axis.tick_params(labelsize=7)
        if not len(samples.times_ps):
            axis.text(0.5, 0.5, "lost while settling", ha="center", transform=axis.transAxes)
            continue
        thin = slice(None, None, max(1, len(samples.times_ps) // _MAX_POINTS))
        total = 1e3 * (samples.total_ev - samples.total_ev.mean()) / run.report.md.n_atoms
        axis.plot(samples.times_ps[thin], total[thin], color=STUDENT, lw=0.3, alpha=0.6)
        blocks = min(20, len(total))
        axis.plot(
            [part.mean() for part in np.array_split(samples.times_ps, blocks)],
            [part.mean() for part in np.array_split(total, blocks)],
            color=ACCENT if run.lost_ps is not None else INK,
            lw=1.2,
        )
    for axis in axes[len(runs) :]:
        axis.set_visible(False)
    figure.supxlabel("time / ps", fontsize=9)
    figure.supylabel("total energy − mean / meV/atom", fontsize=9)
    return figure


def plot_temperatures(runs: Sequence[MoleculeRun]) -> Figure:
    """Mean temperature of each molecule and of both halves, with the 3σ that is allowed."""
    figure = tall_figure(len(runs))
    axis = figure.subplots()
    names = []
    for row, run in enumerate(reversed(runs)):
        names.append(short_name(run.name))
        report = run.report
        target, sigma = report.temperature_k, report.temperature_sigma_k
        axis.plot(
            [target - 3 * sigma, target + 3 * sigma], [row, row], color=STUDENT, alpha=0.25, lw=6
        )
        first, second = report.half_temperatures_k
        axis.plot(first, row, "<", color=INK, ms=4, label="first half" if not row else None)
        axis.plot(second, row, ">", color=INK, ms=4, label="second half" if not row else None)
        axis.plot(
            report.md.mean_temperature_k,
            row,
            "o",
            color=STUDENT if report.temperature_ok else ACCENT,
            ms=5,
            label="mean" if not row else None,
        )
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xlim(left=0.0)
    axis.set_xlabel("temperature / K (band: target ± 3σ, σ = T/√degrees of freedom)")
    axis.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)
    clean(axis)
    return figure


def plot_survival(series: Sequence[MDSeries]) -> Figure:
    """Which molecules lived through which run: whole, with other bonds, or not at all."""
    names = [run.name for run in series[0].runs]
    state = np.full((len(names), len(series)), np.nan)
    figure = tall_figure(len(names), 3.4 + 1.1 * len(series))
    axis = figure.subplots()
    for column, one in enumerate(series):
        for run in one.runs:
            row = names.index(run.name)
            state[row, column] = (
                2 if not run.survived else 1 if run.bonds_changed_ps is not None else 0
            )
            reached = run.asked_ps if run.lost_ps is None else run.lost_ps
            words = f"{reached:.3g} ps" if reached >= 0.0 else "settling"
            axis.text(column, row, words, ha="center", va="center", fontsize=7)
    colours = ListedColormap(["#cfe3c8", "#f4dda5", "#e6a5a0"])
    axis.imshow(state, cmap=colours, vmin=0, vmax=2, aspect="auto")
    titles = [f"{one.settings.title}\n{one.settings.duration_ps:g} ps" for one in series]
    axis.set_xticks(range(len(series)), titles, fontsize=8)
    axis.set_yticks(range(len(names)), [short_name(name) for name in names], fontsize=8)
    axis.tick_params(length=0)
    axis.set_title("green: whole; yellow: bonds changed; red: lost", fontsize=9)
    axis.spines[:].set_visible(False)
    return figure


def tall_figure(rows: int, width: float = 8.0) -> Figure:
    """A figure with a line for each molecule; ``width`` in inches."""
    return Figure(figsize=(width, 1.4 + _ROW_INCHES * rows), layout="constrained")


def short_name(name: str) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
