"""The figure of novelty: where strange structures lie, and how wrong forces are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from forcegate_trainer.reports import INK, clean

if TYPE_CHECKING:  # The measurement draws its figure, and this names what is drawn.
    from forcegate_trainer.validation.confidence.novelty import StrangePoint

__all__ = ["plot_novelty"]

Float = npt.NDArray[np.float64]

_BINS = 40


def plot_novelty(points: Sequence[StrangePoint], normal: Float, error: Float) -> Figure:
    """Histograms of novelty by kind above that of ``normal`` [F]; force errors beside them.

    ``error`` [F] is the force RMSE of the normal frames in eV/Å.
    """
    kinds = list(dict.fromkeys(point.kind for point in points))
    figure = Figure(figsize=(11.0, 1.1 + 0.75 * (len(kinds) + 1)), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False).ravel()
    panels = left.subplots(len(kinds) + 1, 1, sharex=True, squeeze=False).ravel()
    everything = np.concatenate([normal, [point.novelty for point in points]])
    positive = everything[everything > 0.0]
    low, high = (positive.min(), positive.max()) if len(positive) else (0.1, 10.0)
    edges = np.geomspace(0.95 * low, 1.05 * high, _BINS)
    limit = float(np.quantile(normal, 0.99))
    axis = right.subplots()
    colors = matplotlib.colormaps["tab10"]
    groups: dict[str, tuple[Float, Float, Any]] = {"test frames": (normal, error, INK)}
    for place, kind in enumerate(kinds):
        chosen = [point for point in points if point.kind == kind]
        groups[kind] = (
            np.array([point.novelty for point in chosen]),
            np.array([np.nan if p.force_rmse is None else p.force_rmse for p in chosen]),
            colors(place % 10),
        )
    for panel, (kind, (novelty, rmse, color)) in zip(panels, groups.items(), strict=True):
        panel.hist(novelty, bins=edges, color=color)
        panel.axvline(limit, color=INK, lw=0.8, ls=":")
        panel.set_xscale("log")
        panel.set_yticks([])
        panel.set_title(kind, fontsize=8, loc="left", pad=2)
        clean(panel)
        axis.loglog(novelty, np.maximum(rmse, 1e-4), ".", ms=4, alpha=0.6, color=color, label=kind)
    panels[-1].set_xlabel("largest novelty of an atom (dotted: 99 % of the test frames)")
    axis.set_xlabel("largest novelty of an atom")
    axis.set_ylabel("force RMSE against the teacher / eV/Å")
    axis.legend(frameon=False, fontsize=7, markerscale=2)
    clean(axis)
    return figure
