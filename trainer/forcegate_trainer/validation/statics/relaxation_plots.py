"""The figure of relaxations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from forcegate_trainer.reports import ACCENT, INK, STUDENT, clean

if TYPE_CHECKING:  # The measurement draws its figure, and this names what is drawn.
    from forcegate_trainer.validation.statics.relaxation import Relaxation

__all__ = ["plot_relaxations"]


def plot_relaxations(found: Sequence[Relaxation]) -> Figure:
    """RMSD (Å) of every pair of minima, sorted, with the teacher's floor; energies beside it."""
    figure = Figure(figsize=(10.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    compared = sorted(
        (run for run in found if run.heavy_atom_rmsd is not None),
        key=lambda run: run.heavy_atom_rmsd or 0.0,
    )
    rmsd = np.array([run.heavy_atom_rmsd for run in compared], dtype=np.float64)
    place = np.arange(len(compared))
    left.semilogy(place, np.maximum(rmsd, 1e-4), "o", ms=4, color=STUDENT, label="student")
    with_floor = [(row, run.floor_rmsd) for row, run in enumerate(compared) if run.floor_rmsd]
    if with_floor:
        rows, floor = zip(*with_floor, strict=True)
        left.semilogy(rows, floor, "_", ms=7, color=INK, label="floor: teacher, tighter")
    left.axhline(float(np.median(rmsd)), color=ACCENT, lw=1.0, label="median")
    left.set_xlabel("relaxations, sorted")
    left.set_ylabel("heavy-atom RMSD / Å")
    left.legend(frameon=False, fontsize=8)
    known = [run for run in compared if run.energy_above_teacher_kcal is not None]
    right.semilogx(
        [max(run.heavy_atom_rmsd or 0.0, 1e-4) for run in known],
        [run.energy_above_teacher_kcal for run in known],
        "o",
        ms=4,
        color=STUDENT,
    )
    right.axhline(0.0, color=INK, lw=0.8)
    right.set_xlabel("heavy-atom RMSD / Å")
    right.set_ylabel("above the teacher's minimum / kcal/mol")
    clean(left, right)
    return figure
