"""Whether the machine was left alone: what is compared with a baseline stands or falls with it."""

from __future__ import annotations

from collections.abc import Iterable

from forcegate_bench.rows import Findings, Row, absent

__all__ = ["MOVED_AT_MOST", "if_calm", "is_calm"]

# What moves the baseline by more than this moves the ratio as well.
MOVED_AT_MOST = 0.05


def is_calm(before: float, after: float) -> bool:
    """Whether a baseline that was measured twice stayed where it was."""
    return abs(after / before - 1.0) <= MOVED_AT_MOST


def if_calm(rows: Iterable[Row], what: str, before: float, after: float) -> Findings:
    """``rows`` if the baseline ``what`` stayed; otherwise those asked for have no value."""
    if is_calm(before, after):
        return Findings(list(rows))
    kept = [row if row.want is None else absent(row.name, row.want, row.unit) for row in rows]
    note = (
        f"{what}: {after / before - 1.0:+.0%} from before to after; more than "
        f"±{MOVED_AT_MOST:.0%} says that the machine was busy, so nothing is claimed. Run it again."
    )
    return Findings(kept, [note])
