"""A served model's answers for labelled frames of molecules it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

from forcegate_client.checks.charges import MOST_MISSING, net_charges
from forcegate_client.dataset import NOT_THERMAL, Dataset, Source
from forcegate_service.contract.runtime import LoadedRuntime
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.metrics import energy_metrics, force_metrics
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.simulation.exported import RuntimePotential
from forcegate_trainer.simulation.potential import BatchPotential, Evaluation
from forcegate_trainer.validation.accuracy.kinds import frames_by_kind
from forcegate_trainer.validation.accuracy.net_charges import net_charge_errors
from forcegate_trainer.validation.points import members_of
from forcegate_trainer.validation.statistics import energy_calibration

__all__ = ["HeldOut", "forces_of_partner", "predict_held_out", "predict_with"]

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_BATCH = 32


@dataclass(frozen=True)
class HeldOut:
    """``F`` labelled frames and what the model says of them.

    ``energy`` and ``energy_label`` [F] in eV, ``forces`` and ``force_label`` [N, 3] in eV/Å;
    ``uncertainty`` [F] in eV, ``novelty`` [F], the largest of an atom, and atomic ``charges`` [N]
    in e are None where the method does not tell them. ``refused`` frames more were left out, since
    their charges miss the net charge so far that no server answers.
    """

    dataset: Dataset
    energy: Float
    forces: Float
    uncertainty: Float | None
    novelty: Float | None
    charges: Float | None = None
    refused: int = 0

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
            "refused": self.refused,
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
            "per_kind": {
                str(kind): {
                    "frames": int(frames.sum()),
                    "molecules": len(np.unique(self.dataset.molecule_id[frames])),
                    **self.metrics(frames),
                }
                for kind, frames in frames_by_kind(self.dataset).items()
            },
            **self._net_charges(),
            **({} if self.uncertainty is None else {"uncertainty": self.calibration()}),
        }

    def metrics(self, frames: Bool) -> dict[str, float]:
        """Force and energy metrics over the chosen frames (mask [F]).

        ``charge_mae_e`` too where student and teacher tell charges.
        """
        atoms = np.repeat(frames, self.dataset.n_atoms)
        return {
            **self._charge_mae(atoms),
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

    def _charge_mae(self, atoms: Bool) -> dict[str, float]:
        if self.charges is None or self.dataset.charges is None:
            return {}
        error = np.abs(self.charges - self.dataset.charges)[atoms]
        known = error[np.isfinite(error)]
        return {"charge_mae_e": float(known.mean())} if len(known) else {}

    def _net_charges(self) -> dict[str, Any]:
        if self.charges is None:
            return {}
        errors, left_out = net_charge_errors(self.dataset, self.charges)
        quantiles = np.quantile(errors, (0.5, 0.99)) if len(errors) else (None, None)
        return {
            "net_charge_error_e": {
                "molecules": len(errors),
                "median": quantiles[0],
                "q99": quantiles[1],
                "worst": errors.max() if len(errors) else None,
                "frames_left_out": left_out,
            }
        }

    def calibration(self) -> dict[str, float | None]:
        """How σ relates to the energy errors, as :func:`energy_calibration`."""
        return energy_calibration(
            self.energy - self.energy_label, self.sigma, self.dataset.molecule_id
        )


def predict_held_out(runtime: LoadedRuntime, dataset: Dataset, tell: Tell = tell_nobody) -> HeldOut:
    """Evaluate all frames through ``runtime``, which has an answer for each of them.

    Raises:
        SettingsError: if the frames have no labels, there are none, or one has no answer.
    """
    held_out, failed = predict_with(RuntimePotential(runtime), dataset, tell)
    if failed:
        raise SettingsError(
            f"received {failed} of {len(dataset)} frames for which the model's answer is not "
            "finite; expected none: leave those frames out"
        )
    return held_out


def forces_of_partner(runtime: LoadedRuntime, dataset: Dataset, tell: Tell = tell_nobody) -> Float:
    """The forces [N, 3] in eV/Å that another student's are compared with, for every frame.

    For those too whose charges miss the net charge: a server asks its partner for forces alone.

    Raises:
        SettingsError: if the answer for a frame is not finite.
    """
    answers = _asked(RuntimePotential(runtime), dataset, tell)
    forces: Float = np.concatenate([answer.forces for answer in answers])
    failed = int((~np.isfinite(forces).all(axis=1)).sum())
    if failed:
        raise SettingsError(
            f"received {failed} atoms for which the partner's force is not finite; expected none: "
            "leave their frames out"
        )
    return forces


def predict_with(
    potential: BatchPotential, dataset: Dataset, tell: Tell = tell_nobody
) -> tuple[HeldOut, int]:
    """Evaluate all frames, and count where the method failed.

    Frames for which the answer is not finite are left out of the result and counted; so are those
    that a server refuses, since their charges are not those of the net charge, apart.

    Raises:
        SettingsError: if the frames have no labels, there are none, or the method fails on all.
    """
    _require_labels(dataset)
    answers = _asked(potential, dataset, tell)
    energy, forces, novelty = (
        np.concatenate([answer[column] for answer in answers]) for column in range(3)
    )
    atoms_fine = np.isfinite(forces).all(axis=1)
    finite = np.isfinite(energy) & np.logical_and.reduceat(atoms_fine, dataset.offsets[:-1])
    charges = _joined([answer.charges for answer in answers])
    fine = finite if charges is None else finite & ~_refused(charges, dataset)
    kept = np.flatnonzero(fine)
    if not len(kept):
        raise SettingsError(
            f"received a method that fails on all {len(dataset)} test frames; expected one that "
            "describes them: look at its message for a single frame"
        )
    atoms = np.repeat(fine, dataset.n_atoms)
    uncertainty = _joined([answer.uncertainty for answer in answers])
    held_out = HeldOut(
        dataset=dataset if fine.all() else dataset.select(kept),
        energy=energy[kept],
        forces=forces[atoms],
        uncertainty=None if uncertainty is None else uncertainty[fine],
        novelty=novelty[kept] if np.isfinite(novelty[kept]).all() else None,
        charges=None if charges is None else charges[atoms],
        refused=int(finite.sum()) - len(kept),
    )
    return held_out, len(dataset) - int(finite.sum())


def _asked(potential: BatchPotential, dataset: Dataset, tell: Tell) -> list[Evaluation]:
    structures = structures_of(dataset)
    answers = []
    for start in range(0, len(dataset), _BATCH):
        chosen = np.arange(start, min(start + _BATCH, len(dataset)))
        batch = structures.select(chosen)
        answers.append(potential(batch, members_of(batch)))
        tell("frames of molecules never trained on", int(chosen[-1]) + 1, len(dataset))
    return answers


def _joined(parts: Sequence[Float | None]) -> Float | None:
    """None if one part is."""
    told = [part for part in parts if part is not None]
    return np.concatenate(told) if len(told) == len(parts) else None


def _refused(charges: Float, dataset: Dataset) -> Bool:
    """Mask [F] of the frames whose charges [N] are those of another net charge."""
    missed = np.abs(net_charges(charges, dataset.n_atoms) - dataset.charge)
    return np.asarray(missed > MOST_MISSING)


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
