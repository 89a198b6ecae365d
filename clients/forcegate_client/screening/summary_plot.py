"""Distributions of a screening in one figure, each cut where its last few values would hide it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["plot_summary", "shown_range"]

_LABELS = {
    "energy_uncertainty": "energy uncertainty / eV",
    "max_novelty": "novelty",
    "max_force": "largest force / eV/Å",
    "n_atoms": "atoms",
    "steps": "steps",
}
# Beyond these quantiles values are counted, not drawn; of few structures the last one is an outlier
# by its distance from the middle half.
_QUANTILES = (0.5, 99.5)
_REACH = 5.0

Float = npt.NDArray[np.float64]


def shown_range(values: Float) -> tuple[float, float]:
    """What a histogram of finite ``values`` [K], K > 0, is drawn between."""
    first, third = np.percentile(values, (25.0, 75.0), method="nearest")
    reach = _REACH * (third - first)
    near = values[(values >= first - reach) & (values <= third + reach)]
    low, high = np.percentile(near, _QUANTILES, method="nearest").tolist()
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def plot_summary(
    columns: Mapping[str, npt.NDArray[Any]],
    units: Mapping[str, str],
    found: Mapping[str, Any],
    path: Path,
) -> None:
    """Draw the columns that there are, and the reasons of failures, into a PNG file."""
    # The figure's own canvas: pyplot would choose a backend for the whole process.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    axes = figure.subplots(3, 2).flatten()
    for axis, (name, values) in zip(axes, columns.items(), strict=False):
        finite = np.asarray(values, dtype=np.float64)
        finite = finite[np.isfinite(finite)]
        axis.set(xlabel=_LABELS.get(name, f"{name} / {units[name]}"), ylabel="structures")
        if not len(finite):
            continue
        low, high = shown_range(finite)
        beyond = int(np.count_nonzero((finite < low) | (finite > high)))
        beyond += len(values) - len(finite)
        axis.hist(finite, bins=60, range=(low, high), log=True)
        axis.set_title(f"{beyond} beyond" if beyond else "", loc="right", fontsize=9)
        limit = found.get("novelty_limit")
        if name == "max_novelty" and limit is not None and low < limit < high:
            axis.axvline(limit, color="#c44e52", ls="--", lw=1.0, label="99.9 % of training set")
            axis.legend(frameon=False, fontsize=9)
    codes = found["failures"] or {"none": 0}
    axes[-1].barh(list(codes), list(codes.values()))
    axes[-1].set(xlabel="failures")
    for axis in axes[len(columns) : -1]:
        axis.set_axis_off()
    figure.suptitle(_title(found), fontsize=11, x=0.01, ha="left")
    figure.savefig(path, dpi=120, format="png")


def _title(found: Mapping[str, Any]) -> str:
    model = found["model"]
    verdicts = ", ".join(f"{use}: {verdict}" for use, verdict in found["verdict"].items())
    return (
        f"{model['name']} {model['version']}, {found['settings']['task']}, "
        f"{found['computed']} of {found['structures']} structures computed ({verdicts})"
    )
