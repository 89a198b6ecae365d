"""Molecular dynamics of ASE whose steps the engine takes, as many at once as nobody looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.md.md import MolecularDynamics

from forcegate_client.local.calculator import LocalCalculator
from forcegate_client.local.engine import forcegate_errors

__all__ = ["LocalDynamics", "LocalLangevin", "LocalVerlet", "taken_by_the_engine"]

Float = npt.NDArray[np.float64]

# So many steps of so many atoms end soon enough for whoever presses Ctrl-C.
_ATOM_STEPS = 4000


def taken_by_the_engine(atoms: Atoms) -> bool:
    """Whether the engine can move ``atoms``: a student of this process, and no constraint."""
    return isinstance(atoms.calc, LocalCalculator) and not atoms.constraints


class LocalDynamics(MolecularDynamics):  # type: ignore[misc]  # ASE has no type information
    """Dynamics like ASE's, whose observers are called at their intervals and find atoms and
    calculator as after a step; between two calls the engine takes all steps in one block.

    A block ends at a multiple of ``block`` steps at the latest, counted from the run's first, and
    where an observer is due. What the calculator refuses is looked for at its end: a block that
    ends in a structure that is refused, or that cannot be evaluated on the way, is not taken, and
    ``atoms`` are those of the block's begin.

    Observers of ``attach_to_blocks`` are called after each block, whatever its length.
    """

    def __init__(self, atoms: Atoms, timestep: float, **options: Any) -> None:
        """``timestep`` in ASE's unit, as ASE's dynamics take it.

        Raises:
            ValueError: if the engine cannot move ``atoms``.
        """
        if not taken_by_the_engine(atoms):
            raise ValueError(
                "atoms with constraints, or without a LocalCalculator; expected neither: use ASE's "
                "dynamics for them"
            )
        self.seed = 0
        self.temperature_K = self.friction_per_fs = 0.0
        self.block = max(1, _ATOM_STEPS // max(len(atoms), 1))
        # Momenta are made of velocities, and the way back rounds: a run that is looked at, or goes
        # on, would be another one. So velocities are kept while the momenta are those made of them.
        self._velocities: Float | None = None
        self._momenta: Float | None = None
        self._intervals: list[int] = []
        self._after_blocks: list[Callable[[], object]] = []
        super().__init__(atoms, timestep, **options)

    @property
    def velocities(self) -> Float:
        """[N, 3] in Å/fs, to the last bit those that the engine goes on with."""
        known, momenta = self._velocities, self._momenta
        if known is None or momenta is None or not (momenta == self.atoms.get_momenta()).all():
            return np.asarray(self.atoms.get_velocities() * units.fs, dtype=np.float64)
        return known

    @velocities.setter
    def velocities(self, velocities: Float) -> None:
        masses = self.atoms.get_masses()[:, np.newaxis]
        self.atoms.set_momenta(velocities / units.fs * masses)
        self._velocities, self._momenta = velocities, self.atoms.get_momenta()

    def attach(self, function: Any, interval: int = 1, *args: Any, **kwargs: Any) -> None:
        """Call ``function`` each ``interval`` steps, as ASE's dynamics do."""
        self._intervals.append(interval)
        super().attach(function, interval, *args, **kwargs)

    def attach_to_blocks(self, function: Callable[[], object]) -> None:
        """Call ``function`` after each block, after all observers that are due then."""
        self._after_blocks.append(function)

    def irun(self, steps: int = 50) -> Iterator[bool]:
        """Run; yields after each block whether all steps are done.

        Raises:
            ForcegateError: what the calculator would have raised.
        """
        self.max_steps = self.nsteps + steps
        if self.nsteps == 0:
            self.atoms.get_forces()
            self._look()
        yield self.nsteps == self.max_steps
        while self.nsteps < self.max_steps:
            steps = self._until_somebody_looks()
            self._take(steps)
            self.nsteps += steps
            self._look()
            yield self.nsteps == self.max_steps

    def run(self, steps: int = 50) -> bool:
        """Run all steps."""
        return list(self.irun(steps))[-1]

    def step(self) -> None:
        """One step, which whoever calls this counts."""
        self._take(1)

    def _look(self) -> None:
        self.call_observers()
        for function in self._after_blocks:
            function()

    def _until_somebody_looks(self) -> int:
        done: int = self.nsteps
        due = [self.block, *(interval for interval in self._intervals if interval > 0)]
        soonest = min(interval - done % interval for interval in due)
        # Negative and zero ones are called once, after so many steps.
        once = [-at - done for at in self._intervals if -at > done]
        return min(soonest, int(self.max_steps) - done, *once)

    def _take(self, steps: int) -> None:
        from forcegate_engine import integrate

        atoms, calculator = self.atoms, self.atoms.calc
        forces = atoms.get_forces(apply_constraint=False)
        with forcegate_errors():
            motion = integrate(
                calculator.student.model,
                *(atoms.numbers, atoms.positions, self.velocities),
                atoms.get_masses(),
                steps=steps,
                timestep_fs=self.dt / units.fs,
                temperature_k=self.temperature_K,
                friction_per_fs=self.friction_per_fs,
                seed=self.seed,
                start_step=self.nsteps,
                forces=forces,
                cells=atoms.cell.array[None],
                pbc=atoms.pbc[None],
                threads=calculator.student.threads,
            )
        moved = atoms.copy()
        moved.positions = motion.positions
        calculator.adopt(moved, motion.evaluation)
        atoms.positions[:] = motion.positions
        self.velocities = motion.velocities


class LocalVerlet(LocalDynamics):
    """Velocity Verlet at constant energy."""

    step = LocalDynamics.step


class LocalLangevin(LocalDynamics):
    """Langevin dynamics (BAOAB), which pushes each atom by itself.

    ``friction`` is in ASE's unit (1/time). The noise of a step is a function of ``seed`` and the
    step's number, so that a run that goes on has the noise of one that was never stopped.
    """

    step = LocalDynamics.step

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        temperature_K: float,
        friction: float,
        *,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(atoms, timestep, **options)
        self.temperature_K = temperature_K
        self.friction_per_fs = friction * units.fs
        self.seed = seed
