"""A student's errors on frames with labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from forcegate_client.dataset import Dataset
from forcegate_trainer.metrics import energy_metrics, force_metrics
from forcegate_trainer.painn.potential import Potential
from forcegate_trainer.training.frames import batches

__all__ = ["evaluate"]

_BATCH = 32


def evaluate(
    model: Potential, dataset: Dataset, indices: npt.NDArray[np.int64], cutoff: float
) -> dict[str, float]:
    """Force and energy metrics over frames ``indices``."""
    energies, forces, labels, reference = [], [], [], []
    with torch.inference_mode():
        for batch in batches(dataset, indices, _BATCH, cutoff):
            energy, force, _, _, _ = model.evaluate(*batch.inputs)
            energies.append(energy.numpy())
            forces.append(force.numpy())
            labels.append(batch.energies.numpy())
            reference.append(batch.forces.numpy())
    return {
        **force_metrics(np.concatenate(forces), np.concatenate(reference)),
        **energy_metrics(
            np.concatenate(energies), np.concatenate(labels), dataset.n_atoms[indices]
        ),
    }
