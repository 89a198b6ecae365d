"""The memory through which graphs and answers pass between two processes."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["GraphMemory"]

Array = npt.NDArray[Any]

_ALIGNMENT = 64
# Memory beyond this is given back by the next graph that needs much less.
_KEPT_BYTES = 64 * 1024 * 1024
_SMALLEST_BYTES = 1024 * 1024


class GraphMemory:
    """A file without a name, mapped by both sides: the arrays of a graph, and of its answer.

    Every array is contiguous and of the contract's type, so whatever is copied in has passed the
    gate. One side calls ``fit`` before it fills the arrays and tells the other the result. A graph
    is as large as its ``atoms``, ``edges``, ``structures`` and ``pairs``, the latter None where
    there is no list of them.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._capacity = 0
        self._map: mmap.mmap | None = None

    @classmethod
    def create(cls) -> GraphMemory:
        """New memory; whoever inherits the descriptor sees the same."""
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("forcegate-graph"))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def fit(self, atoms: int, edges: int, structures: int, pairs: int | None) -> int:
        """Make room for such a graph; returns the capacity in bytes."""
        inputs, outputs = _layout(atoms, edges, structures, pairs)
        needed = sum(map(_padded_bytes, inputs + outputs))
        wasteful = self._capacity > _KEPT_BYTES and needed < self._capacity // 4
        if needed > self._capacity or wasteful:
            # To a power of two, so that growing molecules do not map anew at every step.
            capacity = max(_SMALLEST_BYTES, 1 << (needed - 1).bit_length())
            os.ftruncate(self.descriptor, capacity)
            self.map(capacity)
        return self._capacity

    def map(self, capacity: int) -> None:
        """See the memory at the size that the other side has given it."""
        if capacity != self._capacity:
            self._map = mmap.mmap(self.descriptor, capacity)
            self._capacity = capacity

    def arrays(
        self, atoms: int, edges: int, structures: int, pairs: int | None
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The inputs and outputs of a graph of such a size, as views of the memory."""
        inputs, outputs = _layout(atoms, edges, structures, pairs)
        offset, views = 0, []
        for field in inputs + outputs:
            shape, dtype = field
            views.append(np.ndarray(shape, dtype, buffer=self._map, offset=offset))
            offset += _padded_bytes(field)
        return tuple(views[: len(inputs)]), tuple(views[len(inputs) :])

    def close(self) -> None:
        """Give the memory back once nobody looks at it any more."""
        self._map = None
        os.close(self.descriptor)


_F64, _I64 = np.dtype(np.float64), np.dtype(np.int64)
_Field = tuple[tuple[int, ...], "np.dtype[Any]"]


def _layout(
    atoms: int, edges: int, structures: int, pairs: int | None
) -> tuple[tuple[_Field, ...], tuple[_Field, ...]]:
    """Shape and type of each array of the contract: inputs, outputs."""
    inputs: tuple[_Field, ...] = (
        ((atoms, 3), _F64),
        ((atoms,), _I64),
        ((2, edges), _I64),
        ((edges, 3), _F64),
        ((atoms,), _I64),
        ((structures,), _I64),
    )
    outputs: tuple[_Field, ...] = (
        ((structures,), _F64),
        ((atoms, 3), _F64),
        ((structures, 3, 3), _F64),
        ((structures,), _F64),
        ((atoms,), _F64),
    )
    if pairs is None:
        return inputs, outputs
    more = (((2, pairs), _I64), ((pairs, 3), _F64), ((structures,), _F64))
    return inputs + more, (*outputs, ((atoms,), _F64))


def _padded_bytes(field: _Field) -> int:
    shape, dtype = field
    return -(-math.prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT
