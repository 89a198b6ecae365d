"""The figure of interaction energies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from forcegate_trainer.reports import INK, STUDENT, TEACHER, clean
from forcegate_trainer.validation.interactions.s66 import FACTORS

if TYPE_CHECKING:  # The measurement draws its figure, and this names what is drawn.
    from forcegate_trainer.validation.interactions.binding import Binding

__all__ = ["plot_binding"]


def plot_binding(found: Binding) -> Figure:
    """Both methods against the reference, and the distance from the teacher at each distance."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    parity, scan = figure.subplots(1, 2)
    reference = found.reference
    ends = [float(reference.min()) - 1.0, 1.0]
    parity.plot(ends, ends, color=INK, lw=0.6)
    parity.axhline(0.0, color=INK, lw=0.4, ls=":")
    parity.plot(reference, found.teacher, "o", ms=3, mfc="none", color=TEACHER, label="teacher")
    parity.plot(reference, found.student, "o", ms=3, color=STUDENT, label="student")
    parity.set_xlabel("S66, CCSD(T) / kcal/mol")
    parity.set_ylabel("interaction energy / kcal/mol")
    parity.legend(frameon=False, fontsize=8)
    error = np.abs(found.student_scan - found.teacher_scan)
    for row in error:
        scan.plot(FACTORS, row, color=STUDENT, lw=0.5, alpha=0.3)
    answered = error[np.isfinite(error).all(axis=1)]
    if len(answered):
        scan.plot(FACTORS, answered.mean(axis=0), "o-", ms=4, color=STUDENT, label="mean")
        scan.legend(frameon=False, fontsize=8)
    scan.set_xlabel("S66x8, times the distance")
    scan.set_ylabel("|student − teacher| / kcal/mol")
    for axis in (parity, scan):
        clean(axis)
    return figure
