"""How figures of static checks look."""

from __future__ import annotations

from matplotlib.axes import Axes

__all__ = ["ACCENT", "INK", "STUDENT", "TEACHER", "clean"]

INK, ACCENT = "#222222", "#c44e52"
STUDENT, TEACHER = "#4c72b0", "#222222"


def clean(*axes: Axes) -> None:
    """Take away the frame's upper and right side."""
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
