"""What neighbour lists cost beside the model that they are made for."""

from __future__ import annotations

from forcegate_bench.rows import Findings, plain, timed
from forcegate_bench.structures import Shaken
from forcegate_bench.timing import Local, take_turns
from forcegate_service.graph import build_graph

__all__ = ["measure_neighbours"]

_CUTOFF = 5.0
# Name of the structure and copies of it.
_CASES = (
    ("aspirin (21 atoms)", 1),
    ("aspirin (21 atoms)", 64),
    ("Ac-Ala9-NHMe (102 atoms)", 1),
    ("water box (999 atoms)", 1),
)


def measure_neighbours(seconds: float) -> Findings:
    """``build_graph`` for fresh positions."""
    candidates = {}
    for name, copies in _CASES:
        label = f"neighbour list, {name}" + (f" × {copies}" if copies > 1 else "")
        candidates[label] = Local(
            Shaken(name, copies).next_batch, lambda batch: build_graph(batch, _CUTOFF)
        )
    times = take_turns(candidates, seconds)
    found = Findings()
    for (name, copies), (label, timing) in zip(_CASES, times.items(), strict=True):
        n_edges = build_graph(Shaken(name, copies).batch, _CUTOFF).n_edges
        found.rows += timed(label, timing)
        found.rows.append(plain(f"{label}, per edge", 1e3 * timing.median / n_edges, "µs/edge"))
    return found
