"""The tensors of an exported model, by the names under which Triton knows them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forcegate_service.graph import Graph
from forcegate_service.runtime import OUTPUT_NAMES, ModelOutput

__all__ = ["INPUTS", "OUTPUTS", "Tensor", "inputs_of", "output_from"]


class Tensor(NamedTuple):
    """``kind`` is Triton's name of the type; -1 in ``dims`` is an axis of any length."""

    name: str
    kind: str
    dims: tuple[int, ...]


# Names are those of the module's arguments.
INPUTS = (
    Tensor("positions", "FP64", (-1, 3)),
    Tensor("atomic_numbers", "INT64", (-1,)),
    Tensor("edge_index", "INT64", (2, -1)),
    Tensor("edge_shift", "FP64", (-1, 3)),
    Tensor("structure_index", "INT64", (-1,)),
    Tensor("n_atoms", "INT64", (-1,)),
)
_DIMS = ((-1,), (-1, 3), (-1, 3, 3), (-1,), (-1,))
# The PyTorch backend finds a tuple's items by the number after the two underscores.
OUTPUTS = tuple(
    Tensor(f"{name}__{number}", "FP64", dims)
    for number, (name, dims) in enumerate(zip(OUTPUT_NAMES, _DIMS, strict=True))
)


def inputs_of(graph: Graph) -> list[tuple[Tensor, npt.NDArray[np.generic]]]:
    """Each input with its array, contiguous."""
    return [
        (tensor, np.ascontiguousarray(array))
        for tensor, array in zip(INPUTS, graph.arrays(), strict=True)
    ]


def output_from(arrays: dict[str, npt.NDArray[np.float64]]) -> ModelOutput:
    """The arrays by their Triton names."""
    return ModelOutput(*(arrays[tensor.name] for tensor in OUTPUTS))
