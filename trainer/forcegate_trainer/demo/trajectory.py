"""A run of one molecule with the client's protocol, and the teacher's opinion of where it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from forcegate_client.md.nve import NVEReport, run_nve
from forcegate_trainer.metrics import force_metrics
from forcegate_trainer.teachers.interface import Teacher

__all__ = ["Trajectory", "run_trajectory"]

_TEACHER_FRAMES = 10


@dataclass(frozen=True)
class Trajectory:
    """A microcanonical run and its force error against the teacher in eV/Å (component RMSE).

    Without a teacher the error is ``None``.
    """

    name: str
    report: NVEReport
    teacher_force_rmse: float | None

    @property
    def bonds_intact(self) -> bool:
        """Whether no bond broke or formed."""
        return not (self.report.md.bonds_broken or self.report.md.bonds_formed)


def run_trajectory(
    name: str,
    atoms: Atoms,
    calculator: Calculator,
    teacher: Teacher | None,
    *,
    temperature_K: float,
    timestep_fs: float,
    duration_ps: float,
    settle_ps: float = 0.4,
    on_sample: Callable[[object], None] | None = None,
) -> Trajectory:
    """Relax, settle, run microcanonically; then ask the teacher about ten frames."""
    work = atoms.copy()
    work.calc = calculator
    steps = round(duration_ps * 1000 / timestep_fs)
    report = run_nve(
        work,
        temperature_K=temperature_K,
        timestep_fs=timestep_fs,
        duration_ps=duration_ps,
        settle_ps=settle_ps,
        keep_frames_every=max(1, steps // (10 * _TEACHER_FRAMES)),
        seed=7,
        on_sample=on_sample,
    )
    error = None if teacher is None else _teacher_force_rmse(report.frames, teacher)
    return Trajectory(name, report, error)


def _teacher_force_rmse(frames: list[Atoms], teacher: Teacher) -> float:
    """Component RMSE in eV/Å over ten frames spread evenly; NaN if there are none."""
    stride = max(1, len(frames) // _TEACHER_FRAMES)
    chosen = frames[stride - 1 :: stride][:_TEACHER_FRAMES]
    if not chosen:
        return float("nan")
    reference = []
    for frame in chosen:
        asked = frame.copy()
        asked.calc = teacher.calculator()
        reference.append(asked.get_forces())
    student = [frame.get_forces() for frame in chosen]
    return force_metrics(np.concatenate(student), np.concatenate(reference))["force_rmse"]
