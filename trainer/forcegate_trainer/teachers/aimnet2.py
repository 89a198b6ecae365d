"""AIMNet2 (Anstine, Zubatyuk, Isayev 2025, doi:10.1039/D4SC08572H) as a teacher.

An ensemble of four networks that imitates ωB97M-D3, in one TorchScript file. It knows fourteen
elements and net charges, open structures and closed shells alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from ase.calculators.calculator import (
    BaseCalculator,
    CalculationFailed,
    Calculator,
    all_changes,
)

from forcegate_client.dataset import TeacherRecord
from forcegate_client.structures import StructureBatch
from forcegate_trainer.errors import LabelError
from forcegate_trainer.simulation.potential import BatchPotential, Evaluation
from forcegate_trainer.teachers.aimnet2_file import MEMBERS, KnownFile, load, unoptimised
from forcegate_trainer.teachers.aimnet2_parts import separated
from forcegate_trainer.teachers.interface import Answer, Reply, Teacher
from forcegate_trainer.teachers.padding import Padded, batches, pad

__all__ = ["AIMNet2Teacher"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

ELEMENTS = frozenset({1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 53})


class AIMNet2Teacher(Teacher):
    """The ensemble's mean, or one member of it, which costs a quarter and suffices for dynamics.

    Raises:
        TeacherError: if ``path`` is not such a file.
    """

    frames_of_a_piece = 1024

    def __init__(self, path: Path, spec: str, member: int | None = None) -> None:
        self._path, self._member = path, member
        known = KnownFile.of(path)
        self._digest = known.digest
        self.record = _record(known, spec, member)

    @property
    def ensemble(self) -> torch.jit.ScriptModule:
        """The file's content, read when it is first needed."""
        return _ensemble(self._path, self._digest)

    def label(self, structures: StructureBatch, members: Int) -> Iterator[Reply]:
        """Structures of like size together, padded to one shape."""
        replies: list[Reply | None] = [
            _objection(structures, row) for row in range(len(structures))
        ]
        rows = np.array([row for row, reply in enumerate(replies) if reply is None], dtype=np.int64)
        for chosen in batches(structures.n_atoms, rows):
            padded = pad(structures, chosen)
            for row, answer in zip(chosen.tolist(), self._answers(padded), strict=True):
                replies[row] = answer
        for reply in replies:
            assert reply is not None
            yield reply

    def separated(
        self, structures: StructureBatch, fragment: Int, part_charges: Sequence[Int]
    ) -> Iterator[Reply]:
        """The parts' own energies, the Coulomb energy of their charges, and dispersion."""
        bounds = structures.offsets
        for row, charges in enumerate(part_charges):
            part = fragment[bounds[row] : bounds[row + 1]]
            objection = _objection(structures, row)
            yield objection or separated(self._networks(), structures.select([row]), part, charges)

    def potential(self) -> BatchPotential:
        """For dynamics of many molecules side by side."""
        return _Potential(self)

    def calculator(self) -> BaseCalculator:
        """For one structure at a time; the net charge is that of ``atoms.info["charge"]``."""
        return _Calculator(self)

    def _networks(self) -> list[torch.jit.ScriptModule]:
        """The networks without the gradient around them, in the order of the ensemble."""
        models = self.ensemble.models
        chosen = range(MEMBERS) if self._member is None else (self._member,)
        return [getattr(models, str(number)).module for number in chosen]

    def _answers(self, padded: Padded) -> Iterator[Answer]:
        module = self.ensemble
        if self._member is not None:
            module = getattr(module.models, str(self._member))
        inputs = {
            "coord": torch.as_tensor(padded.positions, dtype=torch.float32),
            "numbers": torch.as_tensor(padded.atomic_numbers),
            "charge": torch.as_tensor(padded.charges, dtype=torch.float32),
        }
        with unoptimised():
            outputs = module(inputs)
        found = {name: value.detach().double().numpy() for name, value in outputs.items()}
        for row, n in enumerate(padded.n_atoms.tolist()):
            spread = None
            if self._member is None:
                deviation = np.linalg.norm(found["forces_std"][row, :n], axis=1)
                spread = float(deviation.max())
            yield Answer(
                float(found["energy"][row]),
                found["forces"][row, :n],
                charges=found["charges"][row, :n],
                force_spread=spread,
            )


@cache
def _ensemble(path: Path, digest: str) -> torch.jit.ScriptModule:
    """Once in a process, however often the teacher is named: it takes a second and 200 MB."""
    return load(path)


class _Potential:
    def __init__(self, teacher: AIMNet2Teacher) -> None:
        self._teacher = teacher

    def __call__(self, batch: StructureBatch, members: Int) -> Evaluation:
        energies = np.full(len(batch), np.nan)
        forces = np.full(batch.positions.shape, np.nan)
        charges = np.full(batch.total_atoms, np.nan)
        bounds = batch.offsets
        for row, reply in enumerate(self._teacher.label(batch, members)):
            if isinstance(reply, Answer):
                energies[row] = reply.energy
                forces[bounds[row] : bounds[row + 1]] = reply.forces
                charges[bounds[row] : bounds[row + 1]] = reply.charges
        return Evaluation(energies, forces, np.full(len(batch), np.nan), charges)


class _Calculator(Calculator):  # type: ignore[misc]  # ASE has no type information
    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "charges"]

    def __init__(self, teacher: AIMNet2Teacher) -> None:
        super().__init__()
        self._teacher = teacher

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        structure = StructureBatch.from_atoms([self.atoms])
        (reply,) = self._teacher.label(structure, np.zeros(1, dtype=np.int64))
        if isinstance(reply, LabelError):
            raise CalculationFailed(str(reply))
        self.results = {
            "energy": reply.energy,
            "free_energy": reply.energy,
            "forces": reply.forces,
            "charges": reply.charges,
        }


def _objection(structures: StructureBatch, row: int) -> LabelError | None:
    """Why the method cannot answer for a structure."""
    bounds = structures.offsets
    numbers = structures.atomic_numbers[bounds[row] : bounds[row + 1]]
    charge = int(structures.charges[row])
    if structures.pbc[row].any():
        return LabelError("received a periodic structure; AIMNet2 knows open ones", "periodic")
    strange = sorted(set(numbers.tolist()) - ELEMENTS)
    if strange:
        return LabelError(f"received elements {strange}, unknown to AIMNet2", "element_unknown")
    if structures.multiplicities[row] != 1 or (int(numbers.sum()) - charge) % 2:
        return LabelError(f"received charge {charge:+d}; expected a closed shell", "open_shell")
    return None


def _record(known: KnownFile, spec: str, member: int | None) -> TeacherRecord:
    name = spec.partition(":")[0]
    settings = {"level": known.level, "licence": known.licence, "source": known.source}
    if member is None:
        settings |= {"members": str(MEMBERS)}
    return TeacherRecord(name, f"sha256:{known.digest}", settings)
