"""Figures of the errors on molecules that were never trained on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from forcegate_trainer.reports import ACCENT, INK, STUDENT, clean
from forcegate_trainer.validation.accuracy.heldout import HeldOut

__all__ = ["plot_molecules", "plot_parity"]

Float = npt.NDArray[np.float64]


def plot_parity(held_out: HeldOut) -> Figure:
    """Force components and energies of the student against the teacher's."""
    figure = Figure(figsize=(10.0, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    reference, predicted = held_out.force_label.ravel(), held_out.forces.ravel()
    bound = float(np.quantile(np.abs(reference), 0.9995))
    image = left.hexbin(
        reference,
        predicted,
        gridsize=90,
        bins="log",
        extent=(-bound, bound, -bound, bound),
        cmap="viridis",
        mincnt=1,
    )
    figure.colorbar(image, ax=left, label="components")
    left.plot([-bound, bound], [-bound, bound], color=ACCENT, lw=0.8)
    left.set_xlabel("teacher force component / eV/Å")
    left.set_ylabel("student force component / eV/Å")
    metrics = held_out.metrics(np.ones(len(held_out.dataset), dtype=np.bool_))
    left.set_title(
        f"R² = {metrics['force_r2']:.4f}, RMSE = {metrics['force_rmse']:.3f} eV/Å", fontsize=10
    )
    error = 1e3 * (held_out.energy - held_out.energy_label) / held_out.dataset.n_atoms
    right.hist(error, bins=80, color=STUDENT)
    right.axvline(0.0, color=ACCENT, lw=0.8)
    right.set_xlabel("energy error / meV/atom")
    right.set_ylabel("frames")
    right.set_title(f"MAE = {metrics['energy_mae_mev_per_atom']:.2f} meV/atom", fontsize=10)
    clean(left, right)
    return figure


def plot_molecules(rmse: Float, similarity: Float) -> Figure:
    """Force RMSE of each test molecule (eV/Å), sorted, and against its nearest similarity."""
    figure = Figure(figsize=(10.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.bar(np.arange(len(rmse)), np.sort(rmse), color=STUDENT, width=0.9)
    left.axhline(float(np.median(rmse)), color=ACCENT, lw=1.0, label="median")
    left.legend(frameon=False)
    left.set_xlabel("test molecules, sorted")
    left.set_ylabel("force RMSE / eV/Å")
    right.scatter(similarity, rmse, s=14, color=INK, alpha=0.7)
    right.set_xlim(0.0, 1.02)
    right.set_ylim(bottom=0.0)
    right.set_xlabel("Tanimoto similarity to the nearest training molecule")
    right.set_ylabel("force RMSE / eV/Å")
    clean(left, right)
    return figure
