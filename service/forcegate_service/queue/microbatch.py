"""How much of a batch a structure fills, of its seconds or memory, and which one is too much."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from forcegate_service.contract.size import Float, GraphSize, MemoryNeed, size_of, sizes_of
from forcegate_service.contract.structures import Structures, cut, slice_structures
from forcegate_service.queue.cost import CostModel

__all__ = ["BatchLimit", "Demand", "Microbatch"]

# A whole batch; sums of floats may miss it by their rounding.
_FULL = 1.0 + 1e-9


@dataclass(frozen=True, slots=True)
class Microbatch:
    """What is evaluated in one batch: the part of a batch that it fills, and the predicted seconds
    that it adds to what waits, its part of a batch's base included.
    """

    structures: Structures
    share: float
    seconds: float


class Demand(NamedTuple):
    """What a structure is predicted to take: seconds, and bytes of memory."""

    seconds: float
    memory: float


@dataclass(frozen=True)
class BatchLimit:
    """A batch of one version takes at most ``target_s`` predicted seconds and ``load`` edges and
    atoms, unless it is a single structure. One that is predicted to take more than ``longest_s``
    is not evaluated at all: a batch is never broken off, and everybody else would wait for it. Nor
    is one that is predicted to take more than ``most_memory`` bytes, which ends what evaluates it;
    ``memory`` tells what the code needs that evaluates now.
    """

    cost: CostModel
    target_s: float
    load: int
    longest_s: float = math.inf
    memory: Callable[[], MemoryNeed] = lambda: MemoryNeed(0.0, 0.0, 0.0)
    most_memory: float = math.inf

    @property
    def lists_pairs(self) -> bool:
        """Whether what evaluates now keeps a list of pairs beyond the edges."""
        return self.memory().pair > 0.0

    def listed(self, structures: Structures) -> int:
        """How many neighbours of ``structures`` are held in memory, one by one."""
        return structures.n_edges + (structures.n_pairs if self.lists_pairs else 0)

    def too_large(self, structures: Structures) -> dict[int, Demand]:
        """Those of ``structures`` that would take too long or too much."""
        need, every = self.memory(), size_of(structures)
        seconds = self.cost.base_s + self.cost.marginal(every)
        if seconds <= self.longest_s and need.of(every) <= self.most_memory:
            return {}
        sizes = sizes_of(structures)
        times, memories = self.cost.base_s + self.cost.marginal(sizes), need.of(sizes)
        refused = np.flatnonzero((times > self.longest_s) | (memories > self.most_memory))
        return {int(b): Demand(float(times[b]), float(memories[b])) for b in refused}

    def microbatches(self, structures: Structures) -> list[Microbatch]:
        """Consecutive microbatches that fill a batch each, or hold a single structure."""
        if not len(structures.n_atoms):
            return []
        whole = self._microbatch(structures)
        if whole.share <= _FULL:
            return [whole]
        ends = np.cumsum(self._shares(structures))
        microbatches = []
        start = 0
        while start < len(ends):
            done = ends[start - 1] if start else 0.0
            stop = max(start + 1, int(np.searchsorted(ends, done + _FULL, side="right")))
            microbatches.append(self._microbatch(slice_structures(structures, start, stop)))
            start = stop
        return microbatches

    def microbatches_of(
        self, structures: Structures, ends: Sequence[int]
    ) -> list[Microbatch] | None:
        """One for each run of structures, which end at ``ends``; None if one is too large."""
        if len(ends) == 1:
            whole = self._microbatch(structures)
            return [whole] if whole.share <= _FULL else None
        firsts = [0, *ends[:-1]]
        sizes = GraphSize(*(np.add.reduceat(column, firsts) for column in sizes_of(structures)))
        marginal_s = self.cost.marginal(sizes)
        shares = np.maximum(marginal_s / self._room_s, (sizes.atoms + sizes.edges) / self.load)
        seconds = self.cost.base_s * np.minimum(1.0, shares) + marginal_s
        if np.maximum.reduce(shares) > _FULL:
            return None
        parts = cut(structures, ends)
        return [*map(Microbatch, parts, shares.tolist(), seconds.tolist())]

    def _microbatch(self, structures: Structures) -> Microbatch:
        size = size_of(structures)
        marginal_s = self.cost.marginal(size)
        share = max(marginal_s / self._room_s, (size.atoms + size.edges) / self.load)
        return Microbatch(structures, share, self.cost.base_s * min(1.0, share) + marginal_s)

    @property
    def _room_s(self) -> float:
        # A version whose smallest batch takes longer than wanted still gets batches.
        return max(self.target_s - self.cost.base_s, 0.5 * self.target_s)

    def _shares(self, structures: Structures) -> Float:
        sizes = sizes_of(structures)
        load = (sizes.atoms + sizes.edges) / self.load
        return np.maximum(self.cost.marginal(sizes) / self._room_s, load)
