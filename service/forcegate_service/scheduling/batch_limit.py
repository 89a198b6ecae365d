"""How much of a batch a structure fills, of its seconds or memory, and which one is too much."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forcegate_service.graph import Graph
from forcegate_service.scheduling.cost import CostModel
from forcegate_service.subgraph import edges_per_structure, slice_structures

__all__ = ["BatchLimit", "Piece"]

Float = npt.NDArray[np.float64]

# A whole batch; sums of floats may miss it by their rounding.
_FULL = 1.0 + 1e-9


@dataclass(frozen=True, slots=True)
class Piece:
    """What is evaluated in one batch: the part of a batch that it fills, and the predicted seconds
    that it adds to what waits, its part of a batch's base included.
    """

    graph: Graph
    share: float
    seconds: float


@dataclass(frozen=True)
class BatchLimit:
    """A batch of one version takes at most ``target_s`` predicted seconds and ``load`` edges and
    atoms, unless it is a single structure. One that is predicted to take more than ``longest_s``
    is not evaluated at all: a batch is never broken off, and everybody else would wait for it.
    """

    cost: CostModel
    target_s: float
    load: int
    longest_s: float = math.inf

    def too_long(self, graph: Graph) -> dict[int, float]:
        """The structures of ``graph`` that would take too long, and their predicted seconds."""
        every = self.cost.base_s + self.cost.marginal(len(graph.atomic_numbers), graph.n_edges)
        if every <= self.longest_s:
            return {}
        seconds = self.cost.base_s + self.cost.marginal(*_sizes(graph))
        return {int(b): float(seconds[b]) for b in np.flatnonzero(seconds > self.longest_s)}

    def pieces(self, graph: Graph) -> list[Piece]:
        """Consecutive pieces of ``graph`` that fill a batch each, or hold a single structure."""
        if not len(graph.n_atoms):
            return []
        whole = self._piece(graph)
        if whole.share <= _FULL:
            return [whole]
        ends = np.cumsum(self._shares(graph))
        pieces = []
        start = 0
        while start < len(ends):
            done = ends[start - 1] if start else 0.0
            stop = max(start + 1, int(np.searchsorted(ends, done + _FULL, side="right")))
            pieces.append(self._piece(slice_structures(graph, start, stop)))
            start = stop
        return pieces

    def _piece(self, graph: Graph) -> Piece:
        atoms, edges = len(graph.atomic_numbers), graph.n_edges
        marginal_s = self.cost.marginal(float(atoms), float(edges))
        share = max(marginal_s / self._room_s, (atoms + edges) / self.load)
        return Piece(graph, share, self.cost.base_s * min(1.0, share) + marginal_s)

    @property
    def _room_s(self) -> float:
        # A version whose smallest batch takes longer than wanted still gets batches.
        return max(self.target_s - self.cost.base_s, 0.5 * self.target_s)

    def _shares(self, graph: Graph) -> Float:
        atoms, edges = _sizes(graph)
        seconds = self.cost.marginal(atoms, edges)
        return np.maximum(seconds / self._room_s, (atoms + edges) / self.load)


def _sizes(graph: Graph) -> tuple[Float, Float]:
    """Atoms and edges of each structure."""
    return graph.n_atoms.astype(np.float64), edges_per_structure(graph).astype(np.float64)
