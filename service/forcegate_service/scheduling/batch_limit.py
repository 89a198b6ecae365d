"""How much of a batch a structure fills: of its seconds, or of its memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forcegate_service.graph import Graph
from forcegate_service.scheduling.cost import CostModel
from forcegate_service.subgraph import edges_per_structure, slice_structures

__all__ = ["BatchLimit"]

Float = npt.NDArray[np.float64]

# A whole batch; sums of floats may miss it by their rounding.
_FULL = 1.0 + 1e-9


@dataclass(frozen=True)
class BatchLimit:
    """A batch of one version takes at most ``target_s`` predicted seconds and ``load`` edges and
    atoms, unless it is a single structure.
    """

    cost: CostModel
    target_s: float
    load: int

    def share(self, graph: Graph) -> float:
        """The part of a batch that all of ``graph`` fills."""
        atoms, edges = len(graph.atomic_numbers), graph.n_edges
        return max(
            self.cost.marginal(float(atoms), float(edges)) / self._room_s,
            (atoms + edges) / self.load,
        )

    def seconds(self, graph: Graph) -> float:
        """Predicted time that ``graph`` adds to what waits: its part of a batch's base included."""
        atoms, edges = float(len(graph.atomic_numbers)), float(graph.n_edges)
        base_s = self.cost.base_s * min(1.0, self.share(graph))
        return base_s + self.cost.marginal(atoms, edges)

    def pieces(self, graph: Graph) -> list[Graph]:
        """Consecutive pieces of ``graph`` that fill a batch each, or hold a single structure."""
        if not len(graph.n_atoms):
            return []
        if self.share(graph) <= _FULL:
            return [graph]
        ends = np.cumsum(self._shares(graph))
        pieces = []
        start = 0
        while start < len(ends):
            done = ends[start - 1] if start else 0.0
            stop = max(start + 1, int(np.searchsorted(ends, done + _FULL, side="right")))
            pieces.append(slice_structures(graph, start, stop))
            start = stop
        return pieces

    @property
    def _room_s(self) -> float:
        # A version whose smallest batch takes longer than wanted still gets batches.
        return max(self.target_s - self.cost.base_s, 0.5 * self.target_s)

    def _shares(self, graph: Graph) -> Float:
        atoms = graph.n_atoms.astype(np.float64)
        edges = edges_per_structure(graph).astype(np.float64)
        seconds = self.cost.marginal(atoms, edges)
        return np.maximum(seconds / self._room_s, (atoms + edges) / self.load)
