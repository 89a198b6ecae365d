"""The figures and tables of a turn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forcegate_trainer.reports import ACCENT, INK, STUDENT, clean, number, table
from forcegate_wheel.rules import limits
from forcegate_wheel.watch import ALERTS, Row

__all__ = ["write_figures"]

# As time goes: before; trained on without what was captured; with it.
_STUDENTS = ("version 1", "control", "version 2")
_COLOURS = {"1": ACCENT, "2": STUDENT, "version 1": ACCENT, "version 2": STUDENT, "control": "#999"}
_DPI = 110
# Titles of the two watches, and what the tables tell of their phases.
_WATCHES = {"before": "before retraining", "after": "after retraining"}
_FIGURES = {
    "novel_share": ("share of novel structures", 3),
    "shadow_rmse": ("force RMSE against the teacher, eV/Å", 3),
    "shadow_ratio": ("that over the card's", 2),
    "psi_novelty": ("PSI of the novelty", 2),
    "psi_elements": ("PSI of the elements", 2),
    "captured": ("captured so far", 0),
}


def write_figures(results: dict[str, Any], folder: Path) -> None:
    """``timeline.png``, ``errors.png`` and ``tables.md`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    if results["before"] and results["after"]:
        _timeline(results).savefig(folder / "timeline.png", dpi=_DPI)
    _errors(results["errors"]).savefig(folder / "errors.png", dpi=_DPI)
    (folder / "tables.md").write_text(_tables(results), encoding="utf-8")


def _timeline(results: dict[str, Any]) -> Figure:
    """What Prometheus saw: before retraining on the left, after it on the right."""
    figure = Figure(figsize=(9.5, 6.4), layout="constrained")
    axes = figure.subplots(3, 2, sharex="col", sharey="row", height_ratios=(3, 3, 1.6))
    for column, title in enumerate(("before", "after")):
        rows: list[Row] = results[title]
        share, ratio, alerts = axes[:, column]
        clean(share, ratio, alerts)
        share.set_title(
            "version 1 alone" if title == "before" else "after retraining: both are asked the same"
        )
        _lines(share, rows, "novel_share")
        _lines(ratio, rows, "shadow_ratio")
        for axis, limit in zip((share, ratio), limits(), strict=True):
            axis.axhline(limit, color=INK, lw=0.8, ls=":")
            axis.text(0, limit, " limit of the alert", fontsize=8, va="bottom")
        _states(alerts, rows)
        for axis in axes[:, column]:
            _phases(axis, rows, named=axis is share)
        alerts.set_xlabel("structures asked of each version")
        alerts.set_title("alerts; pale while they wait for their time", fontsize=8, loc="left")
        alerts.set_xlim(0, rows[-1]["asked"])
    axes[0, 0].set_ylabel("share of novel structures")
    axes[1, 0].set_ylabel("force error against the teacher,\nover the expected one")
    for axis in axes[:2, 0]:
        # Room for the names of the phases, and for a line that runs along the top.
        axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
    axes[0, 1].legend(frameon=False, loc="center left", fontsize=9)
    return figure


def _lines(axis: Axes, rows: Sequence[Row], name: str) -> None:
    for version in sorted({version for row in rows for version in row[name]}):
        seen = [(row["asked"], row[name][version]) for row in rows if version in row[name]]
        axis.plot(*zip(*seen, strict=True), color=_COLOURS[version], label=f"version {version}")


def _states(axis: Axes, rows: Sequence[Row]) -> None:
    """A bar where an alert is told, a pale one where it waits for its time."""
    versions = ("1", "2")
    lanes = [(alert, version) for alert in ALERTS for version in versions]
    for lane, (alert, version) in enumerate(lanes):
        for row, following in zip(rows, [*rows[1:], rows[-1]], strict=True):
            state = row[alert].get(version, 0.0)
            if state:
                width = following["asked"] - row["asked"]
                colour = _COLOURS[version]
                axis.barh(lane, width, 0.7, row["asked"], align="center", color=colour, alpha=state)
    axis.set_ylim(len(lanes) - 0.4, -0.6)
    labels = [f"{alert.removeprefix('Forcegate')}, v{version}" for alert, version in lanes]
    axis.set_yticks(range(len(lanes)), labels, fontsize=8)


def _phases(axis: Axes, rows: Sequence[Row], *, named: bool) -> None:
    names = list(dict.fromkeys(row["phase"] for row in rows))
    for name in names:
        asked = [row["asked"] for row in rows if row["phase"] == name]
        if name != names[0]:
            axis.axvline(asked[0], color=INK, lw=0.8)
        if named:
            middle = (asked[0] + asked[-1]) / 2
            axis.text(
                middle, 1.0, name, ha="center", va="top", transform=axis.get_xaxis_transform()
            )


def _errors(errors: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(9.5, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    quantities = (
        ("force_rmse", "force RMSE, eV/Å", 3),
        ("energy_mae_mev_per_atom", "energy MAE, meV/atom", 1),
    )
    width = 0.26
    for axis, (name, label, digits) in zip(axes, quantities, strict=True):
        clean(axis)
        for shift, student in enumerate(_STUDENTS):
            heights = [judged[student][name] for judged in errors.values()]
            at = [group + (shift - 1) * width for group in range(len(heights))]
            bars = axis.bar(at, heights, width, color=_COLOURS[student], label=student)
            axis.bar_label(bars, fmt=f"%.{digits}f", fontsize=7)
        axis.set_xticks(range(len(errors)), [fill(judge, 16) for judge in errors])
        axis.tick_params(axis="x", labelsize=8)
        axis.set_ylabel(label)
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def _tables(results: dict[str, Any]) -> str:
    errors = [
        [
            f"{judge} ({measured['version 1']['frames']} frames)",
            student,
            number(measured[student]["force_rmse"], 3),
            number(measured[student]["energy_mae_mev_per_atom"], 1),
            number(100 * measured[student]["novel_share"], 1),
        ]
        for judge, measured in results["errors"].items()
        for student in _STUDENTS
    ]
    headings = ("judged by", "student", "force RMSE, eV/Å", "energy MAE, meV/atom", "novel, %")
    frames = [(name, one["frames"], one["molecules"]) for name, one in results["frames"].items()]
    parts = [
        "# Active learning, in figures",
        "Written by `examples/wheel.py`; what they mean: [Active learning](../active-learning.md).",
        "## Errors, on what no student was trained on",
        table(headings, errors),
        "## What Prometheus saw at the end of each phase, and when an alert was told",
        table(("phase", "figure", "version 1", "version 2"), _seen(results)),
        "## Data",
        table(("data", "frames", "molecules"), frames),
    ]
    return "\n\n".join(parts) + "\n"


def _seen(results: dict[str, Any]) -> list[list[object]]:
    found: list[list[object]] = []
    for when, title in _WATCHES.items():
        rows: list[Row] = results[when]
        for phase in dict.fromkeys(row["phase"] for row in rows):
            here = [row for row in rows if row["phase"] == phase]
            name = f"{title}: {phase}"
            for figure, (label, digits) in _FIGURES.items():
                last = here[-1][figure]
                if last:
                    found.append([name, label, *(number(last.get(v), digits) for v in ("1", "2"))])
            found += [
                [name, f"`{alert}`", *(_told(here, alert, v) for v in ("1", "2"))]
                for alert in ALERTS
            ]
    return found


def _told(rows: Sequence[Row], alert: str, version: str) -> str | None:
    """After how many structures of a phase an alert was told; None of a version that had none."""
    if version not in rows[-1]["novel_share"]:
        return None
    for row in rows:
        if row[alert].get(version) == 1.0:
            return f"told after {row['asked'] - rows[0]['asked']} structures"
    return "silent"
