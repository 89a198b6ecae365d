"""What σ and novelty are worth on molecules that were never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from forcegate_trainer.reports import ACCENT, INK, STUDENT, clean, number, table
from forcegate_trainer.validation.accuracy.heldout import HeldOut
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.statistics import (
    calibration_bins,
    group_rms,
    rank_correlation,
)

__all__ = ["plot_sigma", "plot_test_novelty", "uncertainty_section"]


def uncertainty_section(held_out: HeldOut) -> Section:
    """Calibration of the energy's σ, and force error against novelty, on the test frames.

    A method that tells neither gets a section that says so.
    """
    data: dict[str, Any] = {}
    figures = {}
    parts = []
    if held_out.uncertainty is None:
        parts.append("This method tells no uncertainty of the energy; nothing was calibrated.")
        data["energy"] = None
    else:
        calibration = held_out.calibration()
        error = held_out.energy - held_out.energy_label
        data["energy"] = calibration
        data["bins"] = calibration_bins(error, held_out.sigma)
        figures["calibration"] = plot_sigma(held_out, data["bins"])
        parts += [_energy_text(calibration), "![energy error against σ](calibration.png)"]
    if held_out.novelty is None:
        parts.append("This method tells no novelty.")
        data["novelty"] = None
    else:
        data["novelty"] = novelty = _novelty(held_out)
        figures["novelty_test"] = plot_test_novelty(held_out)
        parts += [_novelty_text(novelty), "![force error against novelty](novelty_test.png)"]
    return Section(
        title="Uncertainty",
        markdown="\n\n".join(parts),
        figures=figures,
        data=data,
        figures_for_verdict={},
    )


def _novelty(held_out: HeldOut) -> dict[str, float | None]:
    rmse, novelty = held_out.frame_force_rmse(), held_out.max_novelty
    owner = held_out.dataset.molecule_id
    return {
        "spearman_novelty_force_rmse": rank_correlation(novelty, rmse),
        "spearman_novelty_force_rmse_molecules": rank_correlation(
            group_rms(novelty, owner), group_rms(rmse, owner)
        ),
    }


def _energy_text(calibration: Mapping[str, float | None]) -> str:
    rows = [
        ("RMS of error/σ (1 if calibrated)", "rms_error_over_sigma", 2),
        ("Spearman of absolute error and σ, frames", "spearman_error_sigma", 2),
        ("Spearman of RMS error and σ, molecules", "spearman_error_sigma_molecules", 2),
        ("NLL of σ as served", "nll", 3),
        ("NLL of σ times its best factor", "nll_sigma_times_best_factor", 3),
        ("NLL of the best constant σ", "nll_best_constant_sigma", 3),
    ]
    told, constant = (
        calibration["nll_sigma_times_best_factor"],
        calibration["nll_best_constant_sigma"],
    )
    if told is None or constant is None:
        lesson = "The likelihoods cannot be compared."
    elif told < constant:
        lesson = (
            f"σ says more than a constant would, by {constant - told:.3f} nats per frame: it "
            "knows something of which structures are worse."
        )
    else:
        lesson = (
            f"σ says less than a constant would, by {told - constant:.3f} nats per frame: use it "
            "as an order of magnitude only."
        )
    return "\n\n".join(
        [
            table(("figure", "value"), [(t, number(calibration[k], d)) for t, k, d in rows]),
            lesson + " (The factor and the constant were both fitted to these very errors.) "
            "Frames of one molecule share much of their error, so there are fewer independent "
            "errors than frames.",
            "**This is a σ of the energy. It does not calibrate forces**: it is fitted to energies "
            "of whole structures and gives no bound on the error of any force.",
        ]
    )


def _novelty_text(novelty: Mapping[str, float | None]) -> str:
    return (
        "Force RMSE of a frame rises with the largest novelty of its atoms with a rank correlation "
        f"of {number(novelty['spearman_novelty_force_rmse'], 2)} over frames and "
        f"{number(novelty['spearman_novelty_force_rmse_molecules'], 2)} over molecules. These "
        "are ordinary frames; strange structures have a section of their own."
    )


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
