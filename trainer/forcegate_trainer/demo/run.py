"""One molecule of the demo: a microcanonical run over HTTP, timed and plotted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import write

from forcegate_client.md.plot import plot_run
from forcegate_trainer.demo.trajectory import Trajectory, run_trajectory
from forcegate_trainer.teachers.interface import Teacher

__all__ = ["DRIFT_LIMIT", "DURATION_PS", "TIMESTEP_FS", "DemoResult", "run_molecule"]

TEMPERATURE_K = 300.0
TIMESTEP_FS = 0.5
DURATION_PS = 2.0
# meV/atom/ps; two picoseconds cannot prove more.
DRIFT_LIMIT = 0.1


@dataclass(frozen=True)
class DemoResult:
    """A trajectory, and how long each of its steps took: ``steps_ms`` [S]."""

    trajectory: Trajectory
    steps_ms: npt.NDArray[np.float64]

    @property
    def trouble(self) -> str | None:
        """What is wrong with the run, in a few words; ``None`` if nothing is."""
        report = self.trajectory.report
        if report.md.trouble is not None:
            return report.md.trouble
        if report.drift is None or abs(report.drift.slope_mev_per_atom_per_ps) > DRIFT_LIMIT:
            return f"the drift exceeds {DRIFT_LIMIT} meV/atom/ps"
        if not report.temperature_ok:
            return "the temperature is not what was asked for"
        return None if self.trajectory.bonds_intact else "bonds changed"

    def summary(self) -> dict[str, object]:
        """The figures of the run, for ``summary.json``; what is not known is ``None``."""
        report = self.trajectory.report
        drift = report.drift
        return {
            "molecule": self.trajectory.name,
            "atoms": report.md.n_atoms,
            "step_p50_ms": self._percentile(50),
            "step_p95_ms": self._percentile(95),
            "drift_mev_per_atom_per_ps": drift and drift.slope_mev_per_atom_per_ps,
            "drift_standard_error": drift and drift.standard_error_mev_per_atom_per_ps,
            "mean_temperature_k": report.md.mean_temperature_k if drift else None,
            "teacher_force_rmse_ev_per_a": self.trajectory.teacher_force_rmse if drift else None,
            "bonds_intact": self.trajectory.bonds_intact,
            "trouble": self.trouble,
        }

    def _percentile(self, q: float) -> float | None:
        return float(np.percentile(self.steps_ms, q)) if len(self.steps_ms) else None


def run_molecule(
    name: str,
    atoms: Atoms,
    calculator: Calculator,
    teacher: Teacher | None,
    folder: Path,
    on_step: Callable[[], None],
) -> DemoResult:
    """Run the protocol with ``calculator``; leave a trajectory and a plot in ``folder``."""
    moments: list[float] = []

    def tick(_: object) -> None:
        moments.append(time.perf_counter())
        on_step()

    trajectory = run_trajectory(
        name,
        atoms,
        calculator,
        teacher,
        temperature_K=TEMPERATURE_K,
        timestep_fs=TIMESTEP_FS,
        duration_ps=DURATION_PS,
        on_sample=tick,
    )
    report = trajectory.report
    if report.frames:
        write(folder / f"{name}.extxyz", report.frames)
        title = f"{name}: NVE at {TEMPERATURE_K:g} K, {TIMESTEP_FS} fs"
        figure = plot_run(report.samples, len(atoms), TEMPERATURE_K, title, report.drift)
        figure.savefig(folder / f"{name}.png", dpi=150)
    return DemoResult(trajectory, 1e3 * np.diff(moments))
