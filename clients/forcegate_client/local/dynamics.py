"""Molecular dynamics of ASE whose steps the engine takes, as many at once as nobody looks at."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ase import Atoms, units

from forcegate_client.local.calculator import LocalCalculator
from forcegate_client.local.engine import forcegate_errors
from forcegate_client.md.frames import FrameDynamics, State

__all__ = ["LocalDynamics", "taken_by_the_engine"]


def taken_by_the_engine(atoms: Atoms) -> bool:
    """Whether the engine can move ``atoms``: a student of this process, and no constraint."""
    return isinstance(atoms.calc, LocalCalculator) and not atoms.constraints


class LocalDynamics(FrameDynamics):
    """``FrameDynamics`` by a student of this process.

    What the calculator refuses is looked for where a frame is due: one that is refused, or that
    cannot be reached, is not taken.
    """

    def __init__(self, atoms: Atoms, timestep: float, **options: Any) -> None:
        """As ``FrameDynamics``.

        Raises:
            ValueError: if the engine cannot move ``atoms``.
        """
        if not taken_by_the_engine(atoms):
            raise ValueError(
                "atoms with constraints, or without a LocalCalculator; expected neither: use ASE's "
                "dynamics for them"
            )
        super().__init__(atoms, timestep, **options)

    def _frames(self, until: int) -> Generator[State]:
        from forcegate_engine import integrate

        atoms, calculator = self.atoms, self.atoms.calc
        while self.nsteps < until:
            forces = atoms.get_forces(apply_constraint=False)
            with forcegate_errors():
                motion = integrate(
                    calculator.student.model,
                    *(atoms.numbers, atoms.positions, self.velocities),
                    atoms.get_masses(),
                    steps=self._next_look(until) - self.nsteps,
                    timestep_fs=self.dt / units.fs,
                    temperature_k=self.temperature_K or 0.0,
                    friction_per_fs=self.friction_per_fs,
                    seed=self.seed,
                    start_step=self.nsteps,
                    streams=[self.stream],
                    forces=forces,
                    cells=atoms.cell.array[None],
                    pbc=atoms.pbc[None],
                    threads=calculator.student.threads,
                )
            moved = atoms.copy()
            moved.arrays["positions"][:] = motion.positions
            response = calculator.response_to(moved, motion.evaluation)
            yield State(motion.step, motion.positions, motion.velocities, response)
