"""A served model's answers for labelled frames of molecules it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

from forcegate_client.dataset import NOT_THERMAL, Dataset, Source
from forcegate_service.graph import build_graph
from forcegate_service.runtime import LoadedRuntime, ModelOutput
from forcegate_trainer.dynamics.potential import BatchPotential
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.metrics import energy_metrics, force_metrics
from forcegate_trainer.reporting import Tell, tell_nobody
from forcegate_trainer.training.graphs import structures_of
from forcegate_trainer.validation.confidence.calibration import energy_calibration
from forcegate_trainer.validation.statics.points import members_of

__all__ = ["HeldOut", "predict_held_out", "predict_with"]

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_BATCH = 32


@dataclass(frozen=True)
class HeldOut:
    """``F`` labelled frames and what the model says of them.

    ``energy`` and ``energy_label`` [F] in eV, ``forces`` and ``force_label`` [N, 3] in eV/Å;
    ``uncertainty`` [F] in eV and ``novelty`` [F], the largest of an atom, are None where the method
    does not tell them.
    """

    dataset: Dataset
    energy: Float
    forces: Float
    uncertainty: Float | None
    novelty: Float | None

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

    @property
    def sigma(self) -> Float:
        """The predicted standard deviation of the energy [F] in eV.

        Raises:
            SettingsError: if the method does not tell it.
        """
        return _told(self.uncertainty, "uncertainty")

    @property
    def max_novelty(self) -> Float:
        """The largest novelty of an atom in each frame [F]; ``SettingsError`` as ``sigma``."""
        return _told(self.novelty, "novelty")

    def frame_force_rmse(self) -> Float:
        """Component RMSE of the forces of each frame [F] in eV/Å."""
        return self._frame_rms(self.forces - self.force_label)

    def frame_force_rms(self) -> Float:
        """RMS of the teacher's force components in each frame [F] in eV/Å."""
        return self._frame_rms(self.force_label)

    def _frame_rms(self, forces: Float) -> Float:
        sums = np.add.reduceat((forces**2).mean(axis=1), self.dataset.offsets[:-1])
        return np.asarray(np.sqrt(sums / self.dataset.n_atoms))

    def summary(self) -> dict[str, Any]:
        """Metrics over all frames, per temperature and per element; calibration of σ, if any."""
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
            **({} if self.uncertainty is None else {"uncertainty": self.calibration()}),
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

    def calibration(self) -> dict[str, float | None]:
        """How σ relates to the energy errors, as :func:`energy_calibration`."""
        return energy_calibration(
            self.energy - self.energy_label, self.sigma, self.dataset.molecule_id
        )


def predict_held_out(runtime: LoadedRuntime, dataset: Dataset, tell: Tell = tell_nobody) -> HeldOut:
    """Evaluate all frames through ``runtime``.

    Raises:
        SettingsError: if the frames have no labels, or there are none.
    """
    _require_labels(dataset)
    structures = structures_of(dataset)
    outputs: list[ModelOutput] = []
    novelty: list[float] = []
    for start in range(0, len(dataset), _BATCH):
        chosen = np.arange(start, min(start + _BATCH, len(dataset)))
        graph = build_graph(structures.select(chosen), *runtime.card.reach)
        output = runtime.evaluate(graph)
        starts = np.cumsum(graph.n_atoms) - graph.n_atoms
        novelty.extend(np.maximum.reduceat(output.atom_novelty, starts))
        outputs.append(output)
        tell("frames of molecules never trained on", int(chosen[-1]) + 1, len(dataset))
    return HeldOut(
        dataset=dataset,
        energy=np.concatenate([output.energy for output in outputs]),
        forces=np.concatenate([output.forces for output in outputs]),
        uncertainty=np.concatenate([output.energy_uncertainty for output in outputs]),
        novelty=np.array(novelty),
    )


def predict_with(
    potential: BatchPotential, dataset: Dataset, tell: Tell = tell_nobody
) -> tuple[HeldOut, int]:
    """Evaluate all frames with a method that tells no uncertainty, and count where it failed.

    Frames for which the answer is not finite are left out of the result.

    Raises:
        SettingsError: if the frames have no labels, there are none, or the method fails on all.
    """
    _require_labels(dataset)
    structures = structures_of(dataset)
    answers = []
    for start in range(0, len(dataset), _BATCH):
        chosen = np.arange(start, min(start + _BATCH, len(dataset)))
        batch = structures.select(chosen)
        answers.append(potential(batch, members_of(batch)))
        tell("frames of molecules never trained on", int(chosen[-1]) + 1, len(dataset))
    energy, forces, novelty = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    atoms_fine = np.isfinite(forces).all(axis=1)
    fine = np.isfinite(energy) & np.logical_and.reduceat(atoms_fine, dataset.offsets[:-1])
    kept = np.flatnonzero(fine)
    if not len(kept):
        raise SettingsError(
            f"received a method that fails on all {len(dataset)} test frames; expected one that "
            "describes them: look at its message for a single frame"
        )
    held_out = HeldOut(
        dataset=dataset.select(kept),
        energy=energy[kept],
        forces=forces[np.repeat(fine, dataset.n_atoms)],
        uncertainty=None,
        novelty=novelty[kept] if np.isfinite(novelty[kept]).all() else None,
    )
    return held_out, len(dataset) - len(kept)


def _require_labels(dataset: Dataset) -> None:
    if dataset.energies is None or not len(dataset):
        raise SettingsError(
            f"received {len(dataset)} frames, labelled: {dataset.is_labelled}; expected at least "
            "one labelled frame of a held-out molecule"
        )


def _told(values: Float | None, name: str) -> Float:
    if values is None:
        raise SettingsError(
            f"received predictions without {name}; expected those of an exported student, which "
            f"tells it: leave the {name} of other methods out of a report"
        )
    return values
