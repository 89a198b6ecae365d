"""MACE with 64 scalar channels per element, two interactions, 5 Å, float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ase import Atoms
from conversation import Evaluate, Prepare, converse

_ELEMENTS = [1, 6, 7, 8, 9, 16, 17]
_CUTOFF = 5.0


def _eager() -> tuple[Prepare, Evaluate]:
    # e3nn stores its constants with slices in them, which torch otherwise declines to load.
    torch.serialization.add_safe_globals([slice])
    from e3nn import o3
    from mace import data, modules, tools
    from mace.tools import torch_geometric

    torch.manual_seed(0)
    model = modules.MACE(
        r_max=_CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=len(_ELEMENTS),
        hidden_irreps=o3.Irreps("64x0e"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(_ELEMENTS)),
        avg_num_neighbors=15.0,
        atomic_numbers=_ELEMENTS,
        correlation=3,
    )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    table = tools.AtomicNumberTable(_ELEMENTS)

    def prepare(numbers: np.ndarray, positions: np.ndarray) -> dict[str, Any]:
        config = data.config_from_atoms(Atoms(numbers, positions))
        graph = data.AtomicData.from_config(config, z_table=table, cutoff=_CUTOFF)
        batch = torch_geometric.Batch.from_data_list([graph])
        inputs: dict[str, Any] = batch.to_dict()
        return inputs

    def evaluate(inputs: dict[str, Any]) -> tuple[float, np.ndarray]:
        outputs = model(inputs, compute_force=True)
        return float(outputs["energy"]), outputs["forces"].detach().numpy()

    return prepare, evaluate


if __name__ == "__main__":
    torch.set_num_threads(1)
    converse({"eager": _eager})
