"""TorchMD-Net: TensorNet and the equivariant transformer with 128 features, 5 Å, float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from conversation import Evaluate, Prepare, converse
from torchmdnet.models.model import create_model

_SHARED: dict[str, Any] = {
    "embedding_dimension": 128,
    "activation": "silu",
    "rbf_type": "expnorm",
    "trainable_rbf": False,
    "cutoff_lower": 0.0,
    "cutoff_upper": 5.0,
    "max_z": 20,
    "max_num_neighbors": 64,
    "check_errors": False,
    "static_shapes": False,
    "derivative": True,
    "output_model": "Scalar",
    "reduce_op": "sum",
    "atom_filter": -1,
    "prior_model": None,
    "precision": 32,
    "box_vecs": None,
    "remove_ref_energy": False,
}
_TENSORNET = {
    "model": "tensornet",
    "num_layers": 2,
    "num_rbf": 32,
    "equivariance_invariance_group": "O(3)",
}
_TRANSFORMER = {
    "model": "equivariant-transformer",
    "num_layers": 6,
    "num_rbf": 64,
    "num_heads": 8,
    "attn_activation": "silu",
    "distance_influence": "both",
    "neighbor_embedding": True,
    "vector_cutoff": False,
}


def _variant(settings: dict[str, Any]) -> Callable[[], tuple[Prepare, Evaluate]]:
    def make() -> tuple[Prepare, Evaluate]:
        torch.manual_seed(0)
        model = create_model({**_SHARED, **settings}).eval()
        for parameter in model.parameters():
            parameter.requires_grad_(False)

        # Its neighbour list is part of the model and cannot be timed apart.
        def prepare(numbers: np.ndarray, positions: np.ndarray) -> tuple[Any, Any]:
            wanted = torch.tensor(positions, dtype=torch.float32, requires_grad=True)
            return torch.tensor(numbers, dtype=torch.int64), wanted

        def evaluate(inputs: tuple[Any, Any]) -> tuple[float, np.ndarray]:
            energy, forces = model(*inputs)
            return float(energy), forces.detach().numpy()

        return prepare, evaluate

    return make


if __name__ == "__main__":
    torch.set_num_threads(1)
    converse({"TensorNet-128": _variant(_TENSORNET), "ET-128": _variant(_TRANSFORMER)})
