"""The figure of conformer energies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from forcegate_trainer.reports import ACCENT, INK, STUDENT, clean
from forcegate_trainer.validation.statics.screening import ConformerEnergies

__all__ = ["plot_screening"]


def plot_screening(found: Sequence[ConformerEnergies], smallest_spread: float) -> Figure:
    """Relative energies (kcal/mol), student against teacher; error and rank of each molecule."""
    figure = Figure(figsize=(10.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    teacher = np.concatenate([entry.teacher for entry in found])
    student = np.concatenate([entry.student for entry in found])
    low, high = min(teacher.min(), student.min()), max(teacher.max(), student.max())
    left.plot(teacher, student, "o", ms=3, alpha=0.6, color=STUDENT)
    left.plot([low, high], [low, high], color=ACCENT, lw=0.8)
    left.set_xlabel("teacher: energy relative to the molecule's mean / kcal/mol")
    left.set_ylabel("student / kcal/mol")
    ranks = [(entry.mae, entry.spearman(smallest_spread)) for entry in found]
    known = [(mae, rank) for mae, rank in ranks if rank is not None]
    if known:
        right.plot(*zip(*known, strict=True), "o", ms=5, color=STUDENT)
    lowest = min((rank for _, rank in known), default=0.0)
    right.set_ylim(min(0.0, lowest) - 0.05, 1.05)
    right.axhline(1.0, color=INK, lw=0.6)
    right.set_xlabel("MAE of the molecule's differences / kcal/mol")
    right.set_ylabel("Spearman of the molecule")
    clean(left, right)
    return figure
