"""The figure of torsion profiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from forcegate_trainer.reports import STUDENT, TEACHER, clean
from forcegate_trainer.validation.statics.torsions import TorsionProfile

__all__ = ["MOST_PANELS", "plot_torsions"]

MOST_PANELS = 12
_COLUMNS = 3


def plot_torsions(found: Sequence[TorsionProfile]) -> Figure:
    """Energy (kcal/mol) against angle (degrees), a small panel for each of the first molecules."""
    found = found[:MOST_PANELS]
    rows = -(-len(found) // _COLUMNS)
    figure = Figure(figsize=(10.0, 2.7 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axis, profile in zip(panels, found, strict=False):
        counted = profile.counted
        for energies, color, label in (
            (profile.teacher, TEACHER, "teacher"),
            (profile.student, STUDENT, "student"),
        ):
            shown = np.where(counted, energies, np.nan)
            axis.plot(profile.angles, shown, "o-", ms=3, lw=1.0, color=color, label=label)
            axis.plot(
                profile.angles[~counted], energies[~counted], "o", ms=3, mfc="none", mec=color
            )
        span = float(np.ptp(profile.teacher[counted])) + 0.5
        axis.set_ylim(profile.teacher[counted].min() - 0.3 * span, None)
        axis.set_ylim(top=profile.teacher[counted].max() + 0.5 * span)
        axis.set_title(f"{profile.molecule}, {profile.bond}", fontsize=9)
        axis.set_xticks([0, 90, 180, 270])
        clean(axis)
    panels[0].legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("energy / kcal/mol")
    for axis in panels[len(found) :]:
        axis.set_visible(False)
    figure.supxlabel("angle / °", fontsize=9)
    return figure
