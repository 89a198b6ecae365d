"""How much memory an evaluation takes, by the code that evaluates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from forcegate_service.graph_size import GraphSize, Number

__all__ = ["MemoryNeed", "compiled_need", "kernel_need", "torchscript_need"]

# Of a model that does not say.
_WIDTH = 128


class MemoryNeed(NamedTuple):
    """Bytes at the peak of an evaluation, for each atom, edge and pair of it.

    Measured on one machine with glibc, on structures of 1,000 to 20,000 atoms: TorchScript of the
    four published students, the kernel of ``painn_base``, and a compiled program of one student 46
    features wide. What was seen lies between a third below and a twentieth above.
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


def compiled_need(architecture: Mapping[str, Any]) -> MemoryNeed:
    """Of the same as a compiled program."""
    width = _width(architecture)
    return MemoryNeed(256.0 * width, 1000.0 + 60.0 * width, 120.0)


def kernel_need(architecture: Mapping[str, Any]) -> MemoryNeed:
    """Of the same in the kernel, which goes from atom to atom."""
    width = _width(architecture)
    return MemoryNeed(100.0 * width, 300.0 + 7.0 * width, 0.0)


def _width(architecture: Mapping[str, Any]) -> int:
    width = architecture.get("width")
    return width if isinstance(width, int) else _WIDTH
