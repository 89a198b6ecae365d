"""A served model's answers for labelled frames of molecules it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols
from scipy.stats import spearmanr

from forcegate_client.dataset import NOT_THERMAL, Dataset, Source
from forcegate_service.graph import build_graph
from forcegate_service.runtime import ModelOutput, Runtime
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.metrics import energy_metrics, force_metrics
from forcegate_trainer.reporting import Tell, tell_nobody
from forcegate_trainer.training.frames import structures_of

__all__ = ["HeldOut", "predict_held_out"]

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_BATCH = 32


@dataclass(frozen=True)
class HeldOut:
    """``F`` labelled frames and what the model says of them.

    ``energy`` and ``energy_label`` [F] in eV, ``sigma`` [F] in eV, ``forces`` and ``force_label``
    [N, 3] in eV/Å, ``max_novelty`` [F].
    """

    dataset: Dataset
    energy: Float
    forces: Float
    sigma: Float
    max_novelty: Float

    @property
    def energy_label(self) -> Float:
        """The teacher's energies [F] in eV."""
        assert self.dataset.energies is not None
        return self.dataset.energies

    @property
    def force_label(self) -> Float:
        """The teacher's forces [N, 3] in eV/Å."""
        assert self.dataset.forces is not None
        return self.dataset.forces

    def summary(self) -> dict[str, Any]:
        """Metrics over all frames, per temperature and per element; calibration of σ."""
        everything = np.ones(len(self.dataset), dtype=np.bool_)
        temperatures = np.unique(self.dataset.temperature)
        numbers = self.dataset.atomic_numbers
        return {
            "frames": len(self.dataset),
            "molecules": len(np.unique(self.dataset.molecule_id)),
            "sources": {
                Source(code).name.lower(): int((self.dataset.source == code).sum())
                for code in np.unique(self.dataset.source)
            },
            **self.metrics(everything),
            "per_temperature_k": {
                "not thermal" if kelvin == NOT_THERMAL else f"{kelvin:g}": self.metrics(
                    self.dataset.temperature == kelvin
                )
                for kelvin in temperatures
            },
            "per_element": {
                chemical_symbols[z]: force_metrics(
                    self.forces[numbers == z], self.force_label[numbers == z]
                )
                for z in np.unique(numbers)
            },
            "uncertainty": self.calibration(),
        }

    def metrics(self, frames: Bool) -> dict[str, float]:
        """Force and energy metrics over the chosen frames (mask [F])."""
        atoms = np.repeat(frames, self.dataset.n_atoms)
        return {
            **force_metrics(self.forces[atoms], self.force_label[atoms]),
            **energy_metrics(
                self.energy[frames], self.energy_label[frames], self.dataset.n_atoms[frames]
            ),
        }

    def per_molecule(self) -> dict[str, dict[str, float]]:
        """Metrics of each molecule, by SMILES."""
        owner = self.dataset.molecule_id
        return {
            self.dataset.molecules.smiles[row]: self.metrics(owner == row)
            for row in np.unique(owner)
        }

    def calibration(self) -> dict[str, float]:
        """How σ relates to the energy errors: RMS of error/σ, rank correlation, mean NLL."""
        error = self.energy - self.energy_label
        scaled = error / self.sigma
        nll = 0.5 * scaled**2 + np.log(self.sigma * np.sqrt(2 * np.pi))
        return {
            "rms_error_over_sigma": float(np.sqrt(np.mean(scaled**2))),
            "spearman_error_sigma": float(spearmanr(np.abs(error), self.sigma).statistic),
            "nll": float(nll.mean()),
        }


def predict_held_out(
    runtime: Runtime, dataset: Dataset, cutoff: float, tell: Tell = tell_nobody
) -> HeldOut:
    """Evaluate all frames through ``runtime``.

    Raises:
        SettingsError: if the frames have no labels, or there are none.
    """
    if dataset.energies is None or not len(dataset):
        raise SettingsError(
            f"received {len(dataset)} frames, labelled: {dataset.is_labelled}; expected at least "
            "one labelled frame of a held-out molecule"
        )
    structures = structures_of(dataset)
    outputs: list[ModelOutput] = []
    novelty: list[float] = []
    for start in range(0, len(dataset), _BATCH):
        chosen = np.arange(start, min(start + _BATCH, len(dataset)))
        graph = build_graph(structures.select(chosen), cutoff)
        output = runtime.evaluate(graph)
        starts = np.cumsum(graph.n_atoms) - graph.n_atoms
        novelty.extend(np.maximum.reduceat(output.atom_novelty, starts))
        outputs.append(output)
        tell("frames of molecules never trained on", int(chosen[-1]) + 1, len(dataset))
    return HeldOut(
        dataset=dataset,
        energy=np.concatenate([output.energy for output in outputs]),
        forces=np.concatenate([output.forces for output in outputs]),
        sigma=np.concatenate([output.energy_uncertainty for output in outputs]),
        max_novelty=np.array(novelty),
    )
