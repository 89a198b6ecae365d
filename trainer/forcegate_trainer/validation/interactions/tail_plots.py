"""The figure of what two molecules feel of each other from contact to 20 Å."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from forcegate_trainer.reports import ACCENT, INK, STUDENT, TEACHER, clean
from forcegate_trainer.validation.interactions.tail import Tail

__all__ = ["plot_tails"]

_COLUMNS = 3


def plot_tails(found: Sequence[Tail]) -> Figure:
    """A panel for each pair: interaction energies (kcal/mol) against the closest contact (Å)."""
    rows = -(-len(found) // _COLUMNS)
    figure = Figure(figsize=(10.0, 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axis, tail in zip(panels, found, strict=False):
        axis.axhline(0.0, color=INK, lw=0.5)
        axis.plot(tail.distances, tail.teacher, "--", lw=1.0, color=TEACHER, label="teacher")
        axis.plot(tail.distances, tail.taught, ".", ms=6, color=ACCENT, label="what is taught")
        axis.plot(
            tail.distances, tail.student, "o-", ms=2.5, lw=1.0, color=STUDENT, label="student"
        )
        axis.set_xscale("log")
        axis.set_xticks([2, 4, 8, 16], labels=["2", "4", "8", "16"])
        axis.minorticks_off()
        # Wells of tens and tails of hundredths.
        axis.set_yscale("symlog", linthresh=0.1)
        axis.set_title(f"{tail.pair.name} ({tail.pair.kind})", fontsize=8)
        clean(axis)
    panels[0].legend(frameon=False, fontsize=7)
    panels[0].set_ylabel("interaction energy / kcal/mol")
    for axis in panels[len(found) :]:
        axis.set_visible(False)
    figure.supxlabel("closest contact / Å", fontsize=9)
    return figure
