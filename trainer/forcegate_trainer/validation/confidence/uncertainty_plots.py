"""Figures of σ and novelty on the test frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from forcegate_trainer.reports import ACCENT, INK, STUDENT, clean
from forcegate_trainer.validation.accuracy.heldout import HeldOut

__all__ = ["plot_sigma", "plot_test_novelty"]


def plot_sigma(held_out: HeldOut, bins: Sequence[Mapping[str, float]]) -> Figure:
    """|Energy error| against σ (eV), frame by frame and RMS in ``bins``, both axes logarithmic."""
    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    axis = figure.subplots()
    sigma = held_out.sigma
    error = np.abs(held_out.energy - held_out.energy_label)
    axis.loglog(sigma, np.maximum(error, 1e-5), ".", ms=3, alpha=0.3, color=STUDENT)
    axis.loglog(
        [part["sigma_rms_ev"] for part in bins],
        [max(part["error_rms_ev"], 1e-5) for part in bins],
        "o-",
        color=INK,
        label="RMS error in bins of equal count",
    )
    span = np.array([sigma.min(), sigma.max()])
    axis.loglog(span, span, color=ACCENT, lw=1.0, label="error = σ")
    constant = float(np.sqrt(np.mean(error**2)))
    if constant > 0.0:
        axis.axhline(constant, color=INK, lw=0.8, ls=":", label="best constant σ")
    axis.set_xlabel("predicted σ of the energy / eV")
    axis.set_ylabel("|energy error| / eV")
    axis.legend(frameon=False, fontsize=8)
    clean(axis)
    return figure


def plot_test_novelty(held_out: HeldOut) -> Figure:
    """Force RMSE of each test frame (eV/Å) against the largest novelty of its atoms."""
    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    axis = figure.subplots()
    rmse = held_out.frame_force_rmse()
    axis.loglog(held_out.max_novelty, np.maximum(rmse, 1e-5), ".", ms=4, alpha=0.4, color=STUDENT)
    axis.set_xlabel("largest novelty of an atom")
    axis.set_ylabel("force RMSE of the frame / eV/Å")
    clean(axis)
    return figure
