"""What σ and novelty are worth on molecules that were never trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forcegate_trainer.reports import number, table
from forcegate_trainer.validation.accuracy.heldout import HeldOut
from forcegate_trainer.validation.confidence.calibration import calibration_bins, group_rms
from forcegate_trainer.validation.confidence.ranks import rank_correlation
from forcegate_trainer.validation.confidence.uncertainty_plots import plot_sigma, plot_test_novelty
from forcegate_trainer.validation.section import Section

__all__ = ["uncertainty_section"]


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
