"""Differences of energy between the conformers of a molecule, student and teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.units import kcal, mol

from forcegate_trainer.data.molecules.structures import conformers, hydrogenated, structure_of
from forcegate_trainer.errors import MoleculeError
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.validation.minimum import relax
from forcegate_trainer.validation.points import student_points, teacher_points
from forcegate_trainer.validation.statics.geometries import distinct
from forcegate_trainer.validation.statistics import rank_correlation
from forcegate_trainer.validation.subject import Subject

__all__ = [
    "ConformerEnergies",
    "ScreeningSettings",
    "measure_conformers",
    "relative_to_mean",
    "summarise_screening",
]

Float = npt.NDArray[np.float64]

_KCAL_PER_EV = mol / kcal


@dataclass(frozen=True)
class ScreeningSettings:
    """Up to ``conformers`` per molecule, relaxed by the student for at most ``relax_steps`` steps.

    Beside the suite's molecules up to ``test_molecules`` of the test split that have a bond to
    turn. Conformers are the first distinct of ``candidates`` random ones, many of them the same.
    Molecules with fewer than ``fewest`` distinct ones are left out; those whose teacher energies
    span less than ``smallest_spread_kcal`` are left out of rank correlations, where noise would
    decide. Two conformers are the same if their sorted distances differ by less than
    ``same_distances`` (Å, RMS).
    """

    test_molecules: int = 70
    conformers: int = 10
    candidates: int = 30
    fewest: int = 3
    relax_steps: int = 40
    relax_fmax: float = 0.1
    smallest_spread_kcal: float = 0.3
    same_distances: float = 0.05
    seed: int = 11


@dataclass(frozen=True)
class ConformerEnergies:
    """Energies [C] of one molecule's conformers in kcal/mol, relative to their own mean."""

    molecule: str
    teacher: Float
    student: Float

    @property
    def pair_errors(self) -> Float:
        """Of each two conformers, how far off their difference is [C (C − 1) / 2], in kcal/mol."""
        error = self.student - self.teacher
        one, other = np.triu_indices(len(error), 1)
        return np.asarray(np.abs(error[one] - error[other]))

    @property
    def mae(self) -> float:
        """Mean of ``pair_errors``."""
        return float(self.pair_errors.mean())

    @property
    def spread(self) -> float:
        """Span of the teacher's energies in kcal/mol."""
        return float(np.ptp(self.teacher))

    def spearman(self, smallest_spread: float) -> float | None:
        """Rank correlation; None if the teacher's span is below ``smallest_spread`` (kcal/mol)."""
        if self.spread < smallest_spread:
            return None
        return rank_correlation(self.student, self.teacher)


def relative_to_mean(energies: Sequence[float]) -> Float:
    """Energies in eV to kcal/mol relative to their mean.

    For figures: the mean, and not the lowest or the first conformer, whose own error would be
    charged to all others.
    """
    values = _KCAL_PER_EV * np.array(energies, dtype=np.float64)
    return np.asarray(values - values.mean())


def measure_conformers(
    subject: Subject,
    molecules: Mapping[str, str],
    settings: ScreeningSettings,
    tell: Tell = tell_nobody,
) -> tuple[list[ConformerEnergies], dict[str, str]]:
    """Energies of student and teacher on the same geometries of ``molecules`` (name to SMILES).

    Also returns why molecules were left out, by name.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found = []
    left_out = {}
    for row, (name, smiles) in enumerate(molecules.items()):
        try:
            starts = _starts(smiles, settings)
        except MoleculeError as error:
            left_out[name] = str(error)
            continue
        # A rigid molecule is not worth relaxing.
        relaxed = [
            relax(start, subject.calculator(), fmax=settings.relax_fmax, steps=settings.relax_steps)
            for start in (starts if len(starts) >= settings.fewest else [])
        ]
        usable = [run.atoms for run in relaxed if run.trouble is None]
        structures = [usable[index] for index in distinct(usable, settings.same_distances)]
        if len(structures) < settings.fewest:
            left_out[name] = f"{len(structures or starts)} distinct conformers"
        else:
            pairs = zip(
                student_points(subject.potential, structures),
                teacher_points(subject.teacher, structures),
                strict=True,
            )
            both = [(mine.energy, his.energy) for mine, his in pairs if mine and his]
            if len(both) < settings.fewest:
                left_out[name] = f"energies of {len(both)} conformers"
            else:
                student, reference = zip(*both, strict=True)
                found.append(
                    ConformerEnergies(name, relative_to_mean(reference), relative_to_mean(student))
                )
        tell("conformer energies of student and teacher", row + 1, len(molecules))
    return found, left_out


def summarise_screening(
    found: Sequence[ConformerEnergies], smallest_spread: float
) -> dict[str, Any]:
    """Errors of pairs and rank correlations over molecules; None where there are none."""
    sizes = np.array([len(entry.teacher) for entry in found], dtype=np.float64)
    ranked = [(entry.spearman(smallest_spread), len(entry.teacher)) for entry in found]
    known = [(rank, size) for rank, size in ranked if rank is not None]
    ranks = np.array([rank for rank, _ in known], dtype=np.float64)
    weights = np.array([size for _, size in known], dtype=np.float64)
    mae = [entry.mae for entry in found]
    pairs = np.concatenate([np.empty(0), *(entry.pair_errors for entry in found)])
    return {
        "molecules": len(found),
        "conformers": int(sizes.sum()),
        "pairs": len(pairs),
        "pair_mae_kcal": float(pairs.mean()) if len(pairs) else None,
        "pair_mae_kcal_mean_of_molecules": float(np.mean(mae)) if mae else None,
        "pair_mae_kcal_median_molecule": float(np.median(mae)) if mae else None,
        "pair_mae_kcal_q90_molecule": float(np.quantile(mae, 0.9)) if mae else None,
        "pair_mae_kcal_worst_molecule": max(mae, default=None),
        "teacher_spread_kcal_median": (
            float(np.median([entry.spread for entry in found])) if found else None
        ),
        "ranked_molecules": len(known),
        "too_narrow_to_rank": len(found) - len(known),
        "spearman_median": float(np.median(ranks)) if known else None,
        "spearman_mean_by_conformers": float(np.average(ranks, weights=weights)) if known else None,
        "spearman_worst_molecule": float(ranks.min()) if known else None,
    }


def _starts(smiles: str, settings: ScreeningSettings) -> list[Atoms]:
    molecule = hydrogenated(smiles)
    found = conformers(molecule, settings.candidates, settings.seed)
    structures = [structure_of(molecule, positions) for positions in found]
    chosen = distinct(structures, settings.same_distances)[: settings.conformers]
    return [structures[index] for index in chosen]
