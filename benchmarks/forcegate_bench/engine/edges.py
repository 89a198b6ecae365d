"""What an edge costs: the model from ten atoms to a thousand, and the neighbour list by itself."""

from __future__ import annotations

from forcegate_bench.report.rows import Findings, at_most, plain, timed
from forcegate_bench.report.timing import Local, take_turns
from forcegate_bench.subjects.models import Model
from forcegate_bench.subjects.structures import BOXES, ORGANIC, Shaken
from forcegate_service.contract.graph import build_graph

__all__ = ["edge_curve", "measure_neighbours", "measure_sizes"]

_CUTOFF = 5.0  # Å
# Structures whose neighbour lists are timed, and copies of each.
_CASES = (
    ("aspirin (21 atoms)", 1),
    ("aspirin (21 atoms)", 64),
    ("Ac-Ala9-NHMe (102 atoms)", 1),
    ("water box (999 atoms)", 1),
)
# Smaller than anybody simulates: there to see what size alone costs, at one density.
_TINY = ("water box (9 atoms)", "water box (24 atoms)", "water box (81 atoms)")


def edge_curve(model: str, structure: str, threads: int) -> str:
    """The curve that a point belongs to: water has one density, molecules have another."""
    kind = "periodic water" if structure in BOXES else "molecules"
    return f"{model}, {kind}, {threads} thread{'s' if threads > 1 else ''}"


def measure_sizes(
    seconds: float, models: tuple[str, ...] = ("painn_base",), threads: int = 1
) -> Findings:
    """Energy and forces of organic molecules and boxes of water, per directed edge."""
    found = Findings()
    for model_name in models:
        model = Model.preset(model_name)
        names = [*ORGANIC, *BOXES]
        candidates = {name: model.evaluation(Shaken(name)) for name in names}
        times = take_turns(candidates, seconds / len(models), turns=3)
        per_edge = {}
        for name, timing in times.items():
            shaken = Shaken(name)
            n_edges = build_graph(shaken.batch, model.cutoff).n_edges
            per_edge[name] = 1e3 * timing.median / n_edges
            label = f"{model_name}, {name}, {n_edges} edges"
            found.rows.append(plain(f"{label}: time", timing.median, "ms"))
            found.rows.append(plain(f"{label}: per edge", per_edge[name], "µs/edge"))
            found.draw(
                "edges",
                edge_curve(model_name, name, threads),
                len(shaken.atoms),
                timing,
                1e3 / n_edges,
            )
        asked = model_name == "painn_base" and threads == 1
        for kind, members in (
            ("water at one density, 9 to 999 atoms", [*BOXES]),
            ("molecules and water, 10 to 1,000 atoms", [n for n in names if n not in _TINY]),
        ):
            label = f"{model_name}: cost per edge, largest / smallest, {kind}"
            costs = [per_edge[name] for name in members]
            spread = max(costs) / min(costs)
            found.rows.append(at_most(label, spread, 1.5) if asked else plain(label, spread, "×"))
    return found


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
