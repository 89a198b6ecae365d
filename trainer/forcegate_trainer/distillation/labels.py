"""A student as the teacher of a smaller one: many frames at once, through its serving runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import BaseCalculator

from forcegate_client.dataset import Dataset, TeacherRecord
from forcegate_client.structures import StructureBatch
from forcegate_service.card import ModelCard
from forcegate_trainer.dynamics.potential import BatchPotential, RuntimePotential
from forcegate_trainer.serving import opened
from forcegate_trainer.validation.calculator import RuntimeCalculator

__all__ = ["answers", "calculator", "potential", "record"]

# As many molecules as still fit into a processor's caches.
_BATCH = 64


def record(folder: Path) -> TeacherRecord:
    """How labels of the student in ``folder`` are known: by its weights, and its own teacher.

    Raises:
        ModelRefused: if the files do not match the card.
    """
    card = ModelCard.load(folder)
    name = f"student:{card.name}/{card.version}"
    return TeacherRecord(name, card.digest, {"teacher": card.teacher})


def calculator(folder: Path) -> BaseCalculator:
    """The student in ``folder`` as an ASE calculator: energy in eV, forces in eV/Å."""
    runtime = opened(folder)
    return RuntimeCalculator(runtime, runtime.card.cutoff)


def potential(folder: Path) -> BatchPotential:
    """The student in ``folder`` for many structures at once."""
    runtime = opened(folder)
    return RuntimePotential(runtime, runtime.card.cutoff)


def answers(frames: Dataset, student: BatchPotential) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each frame of ``frames`` in order, with ``energy`` in eV and ``forces`` [n, 3] in eV/Å."""
    for start in range(0, len(frames), _BATCH):
        chosen = np.arange(start, min(start + _BATCH, len(frames)))
        part = frames.select(chosen)
        batch = StructureBatch.from_arrays(
            n_atoms=part.n_atoms,
            atomic_numbers=part.atomic_numbers,
            positions=part.positions,
            cells=part.cells,
            pbc=part.pbc,
        )
        found = student(batch, chosen)
        for row, frame in enumerate(chosen.tolist()):
            forces = found.forces[part.atoms_of(row)]
            yield frame, {"energy": float(found.energies[row]), "forces": forces}
