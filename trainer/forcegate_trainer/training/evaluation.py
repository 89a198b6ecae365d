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
    """Force and energy metrics over frames ``indices``, computed where ``model`` is."""
    energies, forces, labels, reference = [], [], [], []
    device = model.reference_energies.device
    with torch.inference_mode():
        for batch in batches(dataset, indices, _BATCH, cutoff):
            energy, force, _, _, _ = model.evaluate(*(tensor.to(device) for tensor in batch.inputs))
            energies.append(energy.cpu().numpy())
            forces.append(force.cpu().numpy())
            labels.append(batch.energies.numpy())
            reference.append(batch.forces.numpy())
    return {
        **force_metrics(np.concatenate(forces), np.concatenate(reference)),
        **energy_metrics(
            np.concatenate(energies), np.concatenate(labels), dataset.n_atoms[indices]
        ),
    }
