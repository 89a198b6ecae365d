"""Markdown tables, and numbers that may be missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

__all__ = ["MISSING", "number", "or_none", "table"]

MISSING = "–"


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
