"""The figure of dissociation curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from forcegate_trainer.reports import ACCENT, INK, STUDENT, TEACHER, clean

if TYPE_CHECKING:  # The measurement draws its figure, and this names what is drawn.
    from forcegate_trainer.validation.statics.dissociation import Dissociation

__all__ = ["plot_dissociation"]

_COLUMNS = 3


def plot_dissociation(found: Sequence[Dissociation], cutoff: float | None) -> Figure:
    """Interaction energy (kcal/mol) against closest contact (Å), with the student's cutoff."""
    rows = -(-len(found) // _COLUMNS)
    figure = Figure(figsize=(10.0, 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axis, curve in zip(panels, found, strict=False):
        axis.axhline(0.0, color=INK, lw=0.5)
        if cutoff is not None:
            axis.axvspan(cutoff, curve.contact[-1], color=INK, alpha=0.06, lw=0)
            axis.axvline(cutoff, color=ACCENT, lw=1.0, label=f"cutoff, {cutoff:g} Å")
        axis.plot(curve.contact, curve.teacher, "-", lw=1.4, color=TEACHER, label="teacher")
        axis.plot(
            curve.contact, curve.student, "o-", ms=2.5, lw=1.0, color=STUDENT, label="student"
        )
        # The repulsive wall would hide the well.
        well = max(0.5, -float(curve.teacher.min()))
        axis.set_ylim(-1.7 * well, 1.2 * well)
        axis.set_title(curve.dimer, fontsize=9)
        clean(axis)
    panels[0].legend(frameon=False, fontsize=7)
    panels[0].set_ylabel("interaction energy / kcal/mol")
    for axis in panels[len(found) :]:
        axis.set_visible(False)
    figure.supxlabel("closest contact / Å", fontsize=9)
    return figure
