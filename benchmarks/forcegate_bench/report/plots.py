"""Curves and bars of a benchmark; from its file alone, so that they can be drawn again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["draw"]

# Safe for colour-blind eyes (Okabe and Ito).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333", "#999999")
_OURS = "painn_base"
Curves = Mapping[str, list[list[float]]]


def draw(path: Path, series: Mapping[str, Curves]) -> list[Path]:
    """One PNG beside ``path`` for each plot in ``series``."""
    drawn = []
    for name, make in (("batch", _batch), ("edges", _edges), ("peers", _bars)):
        if series.get(name):
            target = path.with_name(f"{path.stem}-{name}.png")
            make(series[name]).savefig(target, dpi=130)
            drawn.append(target)
    return drawn


def _batch(curves: Curves) -> Figure:
    figure = _curves(curves)
    axis = figure.axes[0]
    axis.set_xscale("log", base=2)
    heights = [point[1] for points in curves.values() for point in points]
    # Several models span decades; one of them would leave a logarithmic axis without a number.
    several = max(heights) > 10 * min(heights)
    if several:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    _plain_numbers(axis, y=several)
    axis.set_xlabel("molecules of aspirin (21 atoms) per batch")
    axis.set_ylabel("ms per molecule, energy and forces")
    return figure


def _edges(curves: Curves) -> Figure:
    figure = _curves(curves)
    axis = figure.axes[0]
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    _plain_numbers(axis, y=False)
    axis.set_xticks([10, 21, 50, 102, 192, 375, 999])
    axis.set_xticks([], minor=True)
    axis.set_xlim(8, 1200)
    axis.set_xlabel("atoms")
    axis.set_ylabel("µs per directed edge, energy and forces")
    return figure


def _curves(curves: Curves) -> Figure:
    figure = Figure(figsize=(7.0, 4.4), layout="constrained")
    axis = figure.subplots()
    for k, (label, unsorted) in enumerate(curves.items()):
        points = np.array(sorted(unsorted))
        colour = _COLOURS[k % len(_COLOURS)]
        axis.plot(points[:, 0], points[:, 1], "o-", ms=4, color=colour, label=label)
        axis.fill_between(points[:, 0], points[:, 2], points[:, 3], color=colour, alpha=0.2, lw=0)
    axis.legend(frameon=False, fontsize=9)
    axis.grid(alpha=0.25)
    _clean(axis)
    axis.set_title("medians; half of all calls lie in the bands", fontsize=9, color="#666666")
    return figure


def _bars(curves: Curves) -> Figure:
    """Milliseconds per step, one panel for each size."""
    sizes = sorted({int(point[0]) for points in curves.values() for point in points})
    figure = Figure(
        figsize=(3.6 * len(sizes) + 1.6, 0.34 * len(curves) + 1.3), layout="constrained"
    )
    panels = np.atleast_1d(figure.subplots(1, len(sizes), sharey=True))
    # The same order in every panel: ours on top, then by time where most were measured.
    labels = sorted(curves, key=lambda label: (label != _OURS, min(p[1] for p in curves[label])))
    for axis, size in zip(panels, sizes, strict=True):
        found = {
            label: next((p for p in points if int(p[0]) == size), None)
            for label, points in curves.items()
        }
        ours = found.get(_OURS)
        longest = max(point[3] for point in found.values() if point)
        for k, label in enumerate(labels):
            point = found[label]
            if point is None:
                continue
            colour = _COLOURS[0] if label == _OURS else "#b5b5b5"
            spread = [[point[1] - point[2]], [point[3] - point[1]]]
            axis.barh(k, point[1], color=colour, xerr=spread, error_kw={"lw": 0.8})
            text = f"{point[1]:.3g} ms"
            if ours is not None and label != _OURS:
                text += f" ({point[1] / ours[1]:.1f} ×)"
            axis.text(point[3] + 0.02 * longest, k, text, va="center", fontsize=8)
        axis.set_xlim(0, 1.55 * longest)
        axis.set_title(f"{size} atoms", fontsize=10)
        axis.set_xlabel("ms per step")
        _clean(axis)
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].invert_yaxis()
    return figure


def _plain_numbers(axis: Axes, *, y: bool = True) -> None:
    """1, 10 and 100 instead of powers of ten."""
    for scale in (axis.xaxis, axis.yaxis) if y else (axis.xaxis,):
        scale.set_major_formatter(lambda value, _: f"{value:g}")
        scale.set_minor_formatter(lambda value, _: "")


def _clean(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
