"""What reports are made of: Markdown tables, numbers that may be missing, how figures look."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "INK",
    "MISSING",
    "STUDENT",
    "TEACHER",
    "clean",
    "number",
    "or_none",
    "panels",
    "table",
]

MISSING = "–"
INK, ACCENT = "#222222", "#c44e52"
STUDENT, TEACHER = "#4c72b0", "#222222"
_COLUMNS = 3


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; cells are written as they are, ``None`` as a dash."""
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    lines += [
        "| " + " | ".join(MISSING if cell is None else str(cell) for cell in row) + " |"
        for row in rows
    ]
    return "\n".join(lines)


def number(value: float | None, digits: int) -> str:
    """``value`` with ``digits`` decimals; a dash where there is none."""
    return MISSING if value is None else f"{value:.{digits}f}"


def or_none(value: float) -> float | None:
    """A float for JSON: None where ``value`` is not finite."""
    return float(value) if math.isfinite(value) else None


def clean(*axes: Axes) -> None:
    """Take away the upper and right side of a figure's frames."""
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)


def panels(count: int, row_inches: float) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` small panels, three in a row."""
    # Here because what draws takes a second to import, and tables need it not.
    from matplotlib.figure import Figure

    rows = -(-count // _COLUMNS)
    figure = Figure(figsize=(10.0, row_inches * rows), layout="constrained")
    axes = list(figure.subplots(rows, _COLUMNS, squeeze=False).ravel())
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]
