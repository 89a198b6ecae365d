"""Results: rows of one form, as JSON for programs and Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from forcegate_bench.report.timing import Timing

__all__ = [
    "MOVED_AT_MOST",
    "Findings",
    "Row",
    "absent",
    "at_least",
    "at_most",
    "if_calm",
    "is_calm",
    "markdown",
    "plain",
    "read",
    "timed",
    "write",
]

# What moves a baseline by more than this moves what is compared with it as well.
MOVED_AT_MOST = 0.05


@dataclass(frozen=True)
class Row:
    """One number. ``want`` is null where nothing is asked, ``value`` where it was not measured.

    ``ok`` is true where nothing is asked, and null where there is no value.
    """

    name: str
    value: float | None
    unit: str
    want: str | None = None
    ok: bool | None = True


@dataclass
class Findings:
    """What one part of a benchmark found: rows, remarks, and curves to draw.

    ``series`` maps the name of a plot to curves, and these to points ``[x, y, low, high]``.
    """

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    series: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)

    def add(self, other: Findings) -> None:
        """Take over what another part found; of two points at the same x its own is kept."""
        self.rows += other.rows
        self.notes += other.notes
        for plot, curves in other.series.items():
            for curve, points in curves.items():
                mine = self.series.setdefault(plot, {}).setdefault(curve, [])
                known = {point[0] for point in mine}
                mine += [point for point in points if point[0] not in known]

    def draw(self, plot: str, curve: str, x: float, timing: Timing, scale: float = 1.0) -> None:
        """Add a point with its spread to a curve; ``scale`` turns milliseconds into its unit."""
        y, (low, high) = timing.median, timing.quartiles
        point = [x, scale * y, scale * low, scale * high]
        self.series.setdefault(plot, {}).setdefault(curve, []).append(point)


def plain(name: str, value: float, unit: str) -> Row:
    """A number of which nothing is asked."""
    return Row(name, _rounded(value), unit)


def at_most(name: str, value: float, limit: float, unit: str = "×") -> Row:
    """A number that should not exceed ``limit``."""
    return Row(name, _rounded(value), unit, f"≤ {limit:g}", bool(value <= limit))


def at_least(name: str, value: float, limit: float, unit: str = "×") -> Row:
    """A number that should reach ``limit``."""
    return Row(name, _rounded(value), unit, f"≥ {limit:g}", bool(value >= limit))


def absent(name: str, want: str | None = None, unit: str = "×") -> Row:
    """A number that could not be measured here; say why in a note."""
    return Row(name, None, unit, want, None)


def timed(name: str, timing: Timing, unit: str = "ms") -> list[Row]:
    """The median of a timing, and the quarters of its calls that lie below and above."""
    low, high = timing.quartiles
    return [
        plain(name, timing.median, unit),
        plain(f"{name}, 25 %", low, unit),
        plain(f"{name}, 75 %", high, unit),
    ]


def is_calm(before: float, after: float) -> bool:
    """Whether the machine was left alone: a baseline that was measured twice stayed as it was."""
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


def write(path: Path, title: str, machine: Mapping[str, Any], findings: Findings) -> None:
    """Write ``path`` (JSON) and the table beside it (Markdown)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": dict(machine),
        "rows": [asdict(row) for row in findings.rows],
        "notes": findings.notes,
        "series": findings.series,
    }
    text = json.dumps(document, indent=1, ensure_ascii=False)
    path.write_text(_compact_points(text) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(markdown(title, machine, findings), encoding="utf-8")


def read(path: Path) -> Findings:
    """What ``write`` wrote, without the machine."""
    document = json.loads(path.read_text(encoding="utf-8"))
    rows = [Row(**row) for row in document["rows"]]
    return Findings(rows, document["notes"], document["series"])


def markdown(title: str, machine: Mapping[str, Any], findings: Findings) -> str:
    """Asked rows first, as a table of their own; then all others; then the remarks."""
    asked = [row for row in findings.rows if row.want is not None]
    others = [row for row in findings.rows if row.want is None]
    parts = [f"# {title}", ", ".join(f"{name}: {value}" for name, value in machine.items())]
    if asked:
        parts += ["## What is asked", _table(asked, with_want=True)]
    if others:
        parts += ["## What else was measured", _table(others, with_want=False)]
    if findings.notes:
        parts += ["## Remarks", "\n".join(f"- {note}" for note in findings.notes)]
    return "\n\n".join(parts) + "\n"


def _table(rows: list[Row], *, with_want: bool) -> str:
    head = ["what", "value", "unit"] + (["want", "met"] if with_want else [])
    lines = [head, ["---"] * len(head)]
    for row in rows:
        cells = [row.name, "not measured" if row.value is None else f"{row.value:g}", row.unit]
        if with_want:
            cells += [row.want or "", {True: "yes", False: "**no**", None: "?"}[row.ok]]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _compact_points(text: str) -> str:
    """Points of curves on one line each; four lines for every one of them help nobody."""
    lines: list[str] = []
    joining = False
    for line in text.split("\n"):
        bare = line.strip()
        if joining:
            lines[-1] += bare if bare.startswith("]") else f" {bare}"
            joining = not bare.startswith("]")
        else:
            lines.append(line)
            joining = bare == "["
    return "\n".join(lines)
