"""Weights of a PaiNN in the order in which the kernel reads them.

Every matrix is padded to whole vectors and cut into panels of at most three vectors, so that a
product reads memory from front to back. Zeros in the padding stay zeros on the way through the
network and back. The order is that of ``weights.h``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from forcegate_service.kernel.shape import KernelShape

__all__ = ["Packing"]

_PANEL_VECTORS = 3


@dataclass(frozen=True)
class Packing:
    """The order for a machine whose vectors hold ``lanes`` floats."""

    lanes: int

    def padded(self, count: int) -> int:
        """``count`` rounded up to whole vectors."""
        return -(-count // self.lanes) * self.lanes

    def pack(self, state: Mapping[str, Tensor], shape: KernelShape) -> Tensor:
        """All weights of a network, float32, as one array.

        ``state`` is the state dict of a ``PaiNN``.

        Raises:
            KeyError: if a weight is missing.
            RuntimeError: if one has another shape.
        """
        return torch.cat([part.reshape(-1).float() for part in self._parts(state, shape)])

    def _parts(self, state: Mapping[str, Tensor], shape: KernelShape) -> Iterator[Tensor]:
        yield self._vector(state["embedding.weight"])
        stage = "stages."
        for layer in range(shape.depth):
            message, update = f"{stage}message.", f"{stage}update."
            parts = 2 if layer == 0 else 3
            gates = 2 if layer == shape.depth - 1 else 3
            yield from self._linear(state, f"{message}hidden.")
            yield from self._linear(state, f"{message}phi.", columns=parts)
            yield self._filter(state, message, parts)
            mix = state[f"{update}mix.weight"]
            yield self._matrix(mix.t(), columns=2)
            yield from self._linear(state, f"{update}hidden.", rows=2)
            yield from self._linear(state, f"{update}gate.", columns=gates)
            yield self._matrix(state[f"{update}gate.weight"], rows=gates)
            yield self._matrix(state[f"{update}hidden.weight"], columns=2)
            yield self._matrix(mix, rows=2)
            yield self._matrix(state[f"{message}phi.weight"], rows=parts)
            yield self._matrix(state[f"{message}hidden.weight"])
            stage += "rest."
        yield from self._linear(state, f"{stage}hidden.")
        yield self._matrix(state[f"{stage}hidden.weight"])
        yield self._vector(state[f"{stage}last.weight"])
        yield self._vector(state[f"{stage}last.bias"])

    def _linear(
        self, state: Mapping[str, Tensor], name: str, rows: int = 1, columns: int = 1
    ) -> Iterator[Tensor]:
        yield self._matrix(state[f"{name}weight"].t(), rows, columns)
        yield self._vector(state[f"{name}bias"].reshape(columns, -1))

    def _matrix(self, matrix: Tensor, rows: int = 1, columns: int = 1) -> Tensor:
        """W of x W, which has ``rows`` × ``columns`` blocks, in panels.

        A linear layer's ``weight`` [out, in] transposed carries values forward; as it is, it
        carries gradients back.
        """
        height, width = matrix.shape[0] // rows, matrix.shape[1] // columns
        blocks = matrix.reshape(rows, height, columns, width)
        more_rows, more_columns = self.padded(height) - height, self.padded(width) - width
        wide = pad(blocks, (0, more_columns, 0, 0, 0, more_rows)).flatten(2).flatten(0, 1)
        vectors = wide.shape[1] // self.lanes
        n_panels = -(-vectors // _PANEL_VECTORS)
        bounds = [vectors * panel // n_panels * self.lanes for panel in range(n_panels + 1)]
        panels = itertools.pairwise(bounds)
        return torch.cat([wide[:, start:stop].reshape(-1) for start, stop in panels])

    def _vector(self, values: Tensor) -> Tensor:
        return pad(values, (0, self.padded(values.shape[-1]) - values.shape[-1]))

    def _filter(self, state: Mapping[str, Tensor], message: str, parts: int) -> Tensor:
        """[vectors, radial functions, parts, lanes]; the bias belongs to the last function."""
        weight, bias = state[f"{message}filter.weight"], state[f"{message}filter.bias"]
        joined = torch.cat([weight, bias.unsqueeze(1)], 1).t()
        wide = self._vector(joined.reshape(len(joined), parts, -1))
        return wide.reshape(len(joined), parts, -1, self.lanes).permute(2, 0, 1, 3)
