"""The tensors of an exported model, by the names under which Triton knows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import OUTPUT_NAMES, ModelOutput

__all__ = ["Tensor", "input_tensors", "inputs_of", "output_from", "output_tensors"]


class Tensor(NamedTuple):
    """``kind`` is Triton's name of the type; -1 in ``dims`` is an axis of any length."""

    name: str
    kind: str
    dims: tuple[int, ...]


# Names are those of the module's arguments.
_GRAPH = (
    Tensor("positions", "FP64", (-1, 3)),
    Tensor("atomic_numbers", "INT64", (-1,)),
    Tensor("edge_index", "INT64", (2, -1)),
    Tensor("edge_shift", "FP64", (-1, 3)),
    Tensor("structure_index", "INT64", (-1,)),
    Tensor("n_atoms", "INT64", (-1,)),
)
_PAIRS = (
    Tensor("pair_index", "INT64", (2, -1)),
    Tensor("pair_shift", "FP64", (-1, 3)),
    Tensor("pair_cutoff", "FP64", (-1,)),
)
_DIMS = ((-1,), (-1, 3), (-1, 3, 3), (-1,), (-1,), (-1,))
# The PyTorch backend finds a tuple's items by the number after the two underscores.
_OUTPUTS = tuple(
    Tensor(f"{name}__{number}", "FP64", dims)
    for number, (name, dims) in enumerate(zip(OUTPUT_NAMES, _DIMS, strict=True))
)


def input_tensors(interface: int) -> tuple[Tensor, ...]:
    """What a model of that interface takes, in order."""
    return _GRAPH + _PAIRS if interface == 2 else _GRAPH


def output_tensors(interface: int) -> tuple[Tensor, ...]:
    """What a model of that interface answers, in order; charges are the last of interface 2."""
    return _OUTPUTS if interface == 2 else _OUTPUTS[:-1]


def inputs_of(graph: Graph) -> list[tuple[Tensor, npt.NDArray[np.generic]]]:
    """Each input with its array, contiguous."""
    arrays = graph.arrays()
    return [
        (tensor, np.ascontiguousarray(array))
        for tensor, array in zip(_GRAPH + _PAIRS, arrays, strict=False)
    ]


def output_from(arrays: Mapping[str, npt.NDArray[np.float64]]) -> ModelOutput:
    """The arrays by their Triton names."""
    return ModelOutput(*(arrays[tensor.name] for tensor in _OUTPUTS if tensor.name in arrays))
