"""Molecular dynamics whose steps are taken elsewhere, and which is told of some of them: frames."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.md.md import MolecularDynamics

from forcegate_client.messages import PredictResponse

__all__ = ["FrameDynamics", "State"]

Float = npt.NDArray[np.float64]

# So many steps of so many atoms end soon enough for whoever presses Ctrl-C.
_ATOM_STEPS = 4000


@dataclass(frozen=True)
class State:
    """A run after ``step`` steps: ``positions`` [N, 3] in Å, ``velocities`` [N, 3] in Å/fs.

    ``response`` is what the model says of this structure.
    """

    step: int
    positions: Float
    velocities: Float
    response: PredictResponse


class FrameDynamics(MolecularDynamics):  # type: ignore[misc]  # ASE has no type information
    """Dynamics like ASE's, whose observers are called at their intervals and find atoms and
    calculator as after a step; steps that nobody looks at are taken where the forces are.

    Velocity Verlet at constant energy; with ``friction`` (1/time, in ASE's unit) and
    ``temperature_K`` Langevin dynamics (BAOAB), which pushes each atom by itself. The noise of a
    step is a function of ``seed``, ``stream`` and the step's number, so that a run that goes on has
    the noise of one that was never stopped, and runs of one seed and several streams differ. A
    frame comes where an observer is due, and after ``block`` steps at the latest. Who looks how
    often changes no bit.

    ``atoms`` are those of the last frame: if what follows fails, as they were then. Whoever changes
    them, or the settings of the run, in an observer, changes the run from there on.

    Observers of ``attach_to_frames`` are called after each frame.
    """

    nsteps: int
    max_steps: int

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        *,
        temperature_K: float | None = None,
        friction: float | None = None,
        seed: int = 0,
        stream: int = 0,
        **options: Any,
    ) -> None:
        """``timestep`` in ASE's unit; ``options`` are those of ASE's dynamics.

        Raises:
            ValueError: if there is a friction and no temperature, or the other way round.
        """
        if (temperature_K is None) != (friction is None):
            raise ValueError(
                f"temperature_K={temperature_K} and friction={friction}; expected both, for "
                "Langevin dynamics, or neither, for constant energy"
            )
        self.seed, self.stream = seed, stream
        self.temperature_K, self.friction = temperature_K, friction
        self.block = max(1, _ATOM_STEPS // max(len(atoms), 1))
        # Momenta are made of velocities, and the way back rounds: a run that is looked at, or goes
        # on, would be another one. So velocities are kept while the momenta are those made of them.
        self._velocities: Float | None = None
        self._momenta: Float | None = None
        self._after_frames: list[Callable[[], object]] = []
        super().__init__(atoms, timestep, **options)

    @abstractmethod
    def _frames(self, until: int) -> Generator[State]:
        """Frames from the present state on, the last at step ``until``.

        Each is shown before the next is asked for.
        """

    @property
    def velocities(self) -> Float:
        """[N, 3] in Å/fs, to the last bit those that the run goes on with."""
        known, momenta = self._velocities, self._momenta
        if known is None or momenta is None or not (momenta == self.atoms.get_momenta()).all():
            return np.asarray(self.atoms.get_velocities() * units.fs, dtype=np.float64)
        return known

    @velocities.setter
    def velocities(self, velocities: Float) -> None:
        masses = self.atoms.get_masses()[:, np.newaxis]
        self.atoms.set_momenta(velocities / units.fs * masses)
        self._velocities, self._momenta = velocities, self.atoms.get_momenta()

    @property
    def friction_per_fs(self) -> float:
        """The friction in 1/fs; 0 at constant energy."""
        return 0.0 if self.friction is None else self.friction * units.fs

    def attach_to_frames(self, function: Callable[[], object]) -> None:
        """Call ``function`` after each frame, after all observers that are due then."""
        self._after_frames.append(function)

    def irun(self, steps: int = 50) -> Iterator[bool]:
        """Run; yields after each frame whether all steps are done.

        Raises:
            ForcegateError: what the calculator would have raised.
        """
        self.begin(steps)
        yield self.nsteps == self.max_steps
        while self.nsteps < self.max_steps:
            terms = self.terms
            with closing(self._frames(self.max_steps)) as frames:
                for frame in frames:
                    self.show(frame)
                    yield self.nsteps == self.max_steps
                    if self.has_left(frame, terms):
                        break

    def begin(self, steps: int) -> None:
        """What comes before the first frame of ``steps`` more: at step 0 all observers look."""
        self.max_steps = self.nsteps + steps
        if self.nsteps == 0:
            self.atoms.get_forces()
            self._look()

    def run(self, steps: int = 50) -> bool:
        """Run all steps."""
        return list(self.irun(steps))[-1]

    def step(self) -> None:
        """One step, which whoever calls this counts."""
        before = self.nsteps
        with closing(self._frames(before + 1)) as frames:
            for frame in frames:
                self._reach(frame)
        self.nsteps = before

    @property
    def intervals(self) -> tuple[int, ...]:
        """When somebody looks; negative ones and zero are called once, after so many steps."""
        return tuple(interval for _, interval, *_ in self.observers)

    @property
    def terms(self) -> tuple[object, ...]:
        """What frames that are on their way were asked for with."""
        return (self.dt, self.temperature_K, self.friction, self.seed, self.intervals)

    def _next_look(self, until: int) -> int:
        """The step at which the next frame is due."""
        done = self.nsteps
        due = [self.block, *(interval for interval in self.intervals if interval > 0)]
        once = [-at for at in self.intervals if -at > done]
        return min(until, *once, *(done + interval - done % interval for interval in due))

    def show(self, state: State) -> None:
        """Be there, and have everybody look whose turn it is."""
        self._reach(state)
        self._look()

    def has_left(self, state: State, terms: tuple[object, ...]) -> bool:
        """Whether somebody has changed the atoms since ``state``, or the settings since ``terms``.

        What was asked for with them is then of no use.
        """
        stays = np.array_equal(self.atoms.positions, state.positions)
        return terms != self.terms or not (stays and self.velocities is state.velocities)

    def _reach(self, state: State) -> None:
        moved = self.atoms.copy()
        moved.arrays["positions"][:] = state.positions
        self.atoms.calc.adopt(moved, state.response)
        self.atoms.arrays["positions"][:] = state.positions
        self.velocities = state.velocities
        self.nsteps = state.step

    def _look(self) -> None:
        self.call_observers()
        for function in self._after_frames:
            function()
