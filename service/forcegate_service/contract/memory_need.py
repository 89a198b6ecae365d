"""How much memory an evaluation takes, by the code that evaluates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from forcegate_service.contract.graph_size import GraphSize, Number

__all__ = ["MemoryNeed", "engine_need", "torchscript_need"]

# Of a model that does not say.
_WIDTH, _DEPTH = 128, 3


class MemoryNeed(NamedTuple):
    """Bytes at the peak of an evaluation, for each atom, edge and pair of it.

    Measured on one machine with glibc, on structures of 1,000 to 20,000 atoms and the four
    published students. What was seen lies between a third below and a twentieth above.
    """

    atom: float
    edge: float
    pair: float

    def of(self, size: GraphSize[Number]) -> Number:
        """Bytes for ``size``, or for each of its structures."""
        return self.atom * size.atoms + self.edge * size.edges + self.pair * size.pairs


def torchscript_need(architecture: Mapping[str, Any]) -> MemoryNeed:
    """Of a PaiNN that a card describes, every message of which is held in memory."""
    width = _width(architecture)
    return MemoryNeed(256.0 * width, 1000.0 + 170.0 * width, 340.0)


def engine_need(architecture: Mapping[str, Any]) -> MemoryNeed:
    """Of the same in the engine, which keeps of an edge no more than its radial functions."""
    depth = architecture.get("depth")
    layers = depth if isinstance(depth, int) else _DEPTH
    # Whole vectors of at most sixteen floats.
    width = -(-_width(architecture) // 16) * 16
    return MemoryNeed(97.0 * layers * width, 270.0, 0.0)


def _width(architecture: Mapping[str, Any]) -> int:
    width = architecture.get("width")
    return width if isinstance(width, int) else _WIDTH
