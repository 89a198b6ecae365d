"""How large structures are: what the cost and the memory of their evaluation grow with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from forcegate_service.contract.structures import Structures

__all__ = [
    "Float",
    "GraphSize",
    "MemoryNeed",
    "Number",
    "engine_need",
    "size_of",
    "sizes_of",
    "torchscript_need",
]

Float = npt.NDArray[np.float64]
Number = TypeVar("Number", float, Float)
# Of a model that does not say.
_WIDTH, _DEPTH = 128, 3


class GraphSize(NamedTuple, Generic[Number]):
    """Atoms, directed edges, and pairs beyond them, 0 for a model of interface 1.

    Numbers, or arrays [B] with one for each structure.
    """

    atoms: Number
    edges: Number
    pairs: Number


def size_of(structures: Structures) -> GraphSize[float]:
    """The size of all of them."""
    return GraphSize(len(structures.atomic_numbers), structures.n_edges, structures.n_pairs)


def sizes_of(structures: Structures) -> GraphSize[Float]:
    """The size of each of them."""
    edges, pairs = structures.counts()
    return GraphSize(
        structures.n_atoms.astype(np.float64), edges.astype(np.float64), pairs.astype(np.float64)
    )


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
