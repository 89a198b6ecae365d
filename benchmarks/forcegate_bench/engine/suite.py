"""All that is measured on one core, one part after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from forcegate_bench.engine.edges import measure_neighbours, measure_sizes
from forcegate_bench.engine.memory import measure_memory
from forcegate_bench.engine.peers import measure_peers
from forcegate_bench.engine.students import measure_batching, measure_students
from forcegate_bench.engine.teacher import measure_teacher
from forcegate_bench.engine.training import measure_training
from forcegate_bench.machine.processor import describe
from forcegate_bench.report.plots import draw
from forcegate_bench.report.rows import Findings, write

__all__ = ["measure_all", "show"]

_MARKS = {True: "[green]met[/green]", False: "[red]missed[/red]", None: "not measured"}


def measure_all(
    seconds: float,
    peers: tuple[str, ...] = ("schnetpack",),
    models: tuple[str, ...] = ("painn_base",),
) -> Findings:
    """Every ratio that is asked, within about ``seconds`` on the clock; warm-up comes on top."""
    parts: list[tuple[str, Callable[[], Findings]]] = [
        ("students", lambda: measure_students(0.16 * seconds)),
        ("batches", lambda: measure_batching(0.20 * seconds)),
        ("teacher", lambda: measure_teacher(0.16 * seconds)),
        ("peers", lambda: measure_peers(0.22 * seconds, peers)),
        ("sizes", lambda: measure_sizes(0.12 * seconds)),
        ("neighbour lists", lambda: measure_neighbours(0.04 * seconds)),
        ("training", lambda: measure_training(0.14 * seconds)),
        ("memory", lambda: measure_memory(models)),
    ]
    found = Findings()
    for name, measure in parts:
        started = time.perf_counter()
        found.add(measure())
        Console().print(f"{name}: {time.perf_counter() - started:.0f} s")
    return found


def show(out: Path, title: str, found: Findings) -> None:
    """Write JSON, Markdown and plots; print what is asked."""
    write(out, title, describe(), found)
    draw(out, found.series)
    table = Table("what", "value", "want", "", title=title)
    for row in found.rows:
        if row.want is not None:
            value = "" if row.value is None else f"{row.value:g} {row.unit}"
            table.add_row(row.name, value, row.want, _MARKS[row.ok])
    Console().print(table)
    for note in found.notes:
        Console().print(f"- {note}")
