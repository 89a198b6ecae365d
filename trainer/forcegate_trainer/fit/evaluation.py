"""A student's errors on frames with labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from forcegate_client.dataset import Dataset
from forcegate_trainer.fit.batch import FrameBatch, batches, frame_batch
from forcegate_trainer.fit.charged import charged_batch
from forcegate_trainer.fit.graphs import FrameGraphs
from forcegate_trainer.metrics import energy_metrics, force_metrics
from forcegate_trainer.network.charged_potential import ChargedPotential
from forcegate_trainer.network.student import Student

__all__ = ["evaluate", "predicted_energies"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_BATCH = 32


def predicted_energies(model: Student, dataset: Dataset, cutoff: float) -> Float:
    """Energies [F] in eV of all frames, computed where ``model`` is."""
    device = model.reference_energies.device
    energies = [np.empty(0)]
    with torch.inference_mode():
        for batch in batches(dataset, np.arange(len(dataset)), _BATCH, cutoff, _make(model)):
            found = model.evaluate(*(tensor.to(device) for tensor in batch.inputs))
            energies.append(found[0][: len(batch.energies)].cpu().numpy())
    return np.concatenate(energies)


def evaluate(
    model: Student, dataset: Dataset, indices: npt.NDArray[np.int64], cutoff: float
) -> dict[str, float]:
    """Force and energy metrics over frames ``indices``, computed where ``model`` is."""
    energies, forces, labels, reference, charge_errors = [], [], [], [], []
    device = model.reference_energies.device
    with torch.inference_mode():
        for batch in batches(dataset, indices, _BATCH, cutoff, _make(model)):
            found = model.evaluate(*(tensor.to(device) for tensor in batch.inputs))
            # Parts of complexes follow after the frames.
            n_frames, n_atoms = len(batch.energies), len(batch.forces)
            energies.append(found[0][:n_frames].cpu().numpy())
            forces.append(found[1][:n_atoms].cpu().numpy())
            labels.append(batch.energies.numpy())
            reference.append(batch.forces.numpy())
            if batch.charges is not None:
                error = found[3][:n_atoms].cpu() - batch.charges.charges
                charge_errors.append(error[torch.isfinite(error)].abs().numpy())
    known = np.concatenate([np.empty(0), *charge_errors])
    return {
        **({"charge_mae_e": float(known.mean())} if len(known) else {}),
        **force_metrics(np.concatenate(forces), np.concatenate(reference)),
        **energy_metrics(
            np.concatenate(energies), np.concatenate(labels), dataset.n_atoms[indices]
        ),
    }


def _make(model: Student) -> Callable[[Dataset, FrameGraphs, Int], FrameBatch]:
    return charged_batch if isinstance(model, ChargedPotential) else frame_batch
