"""Structures that are asked for and moved together; they come and go one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.errors import ForcegateError, PredictionNotFinite, error_from_problem
from forcegate_client.messages import Predictions
from forcegate_client.relaxation.entrance import admitted
from forcegate_client.relaxation.fire import Fire, Motion, step
from forcegate_client.relaxation.outcome import Relaxed, failed
from forcegate_client.results import forget_results, with_results
from forcegate_client.structures import StructureBatch, segments

__all__ = ["Group", "Rules"]

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rules:
    """When a structure is done: forces in eV/Å. Beyond ``explosion`` it has failed."""

    fmax: float
    max_steps: int
    explosion: float
    fire: Fire = field(default_factory=Fire)


class Group:
    """Up to ``slots`` structures on their way.

    ``batch`` holds those that are on their way now, where they are now: what to evaluate next.
    """

    def __init__(self, rules: Rules, slots: int) -> None:
        self.batch = StructureBatch.from_atoms([])
        self._rules = rules
        self._slots = slots
        self._given: list[tuple[int, Atoms]] = []
        self._held: Bool = np.zeros((0, 3), dtype=np.bool_)
        self._motion = Motion.at_rest(self.batch.n_atoms, rules.fire)
        self._steps: Int = np.zeros(0, dtype=np.int64)
        # Of a structure that has not taken a step yet, no value has a meaning.
        self._start_energies: Float = np.zeros(0)

    def __len__(self) -> int:
        return len(self._given)

    def fill(self, source: Iterator[tuple[int, Atoms]]) -> Iterator[Relaxed]:
        """Take structures until all slots are taken; those that cannot be relaxed come out."""
        taken: list[tuple[int, Atoms]] = []
        held: list[Bool] = []
        while len(self) + len(taken) < self._slots:
            entry = next(source, None)
            if entry is None:
                break
            index, atoms = entry
            try:
                held.append(admitted(atoms))
            except ForcegateError as error:
                yield failed(index, atoms, None, 0, error)
            else:
                taken.append(entry)
        if taken:
            self._join(taken, np.concatenate(held))

    def advance(self, found: Predictions) -> list[Relaxed]:
        """Move on by what was found for ``batch``; the structures that are done leave."""
        problems = {b: error_from_problem(doc, 422) for b, doc in found.problems.items()}
        out = self._leave_with_problems(problems)
        if not len(self):
            return out
        energy = np.asarray(found.energy, dtype=np.float64)
        forces = np.where(self._held, 0.0, np.asarray(found.forces, dtype=np.float64))
        largest = self._largest(forces)
        good = np.isfinite(energy) & (largest <= self._rules.explosion)
        self._start_energies = np.where(self._steps == 0, energy, self._start_energies)
        converged = good & (largest < self._rules.fmax)
        leaving = ~good | converged | (self._steps >= self._rules.max_steps)
        if leaving.any():
            # What the calculator shows are the forces of the model, constraints or not.
            raw = np.asarray(found.forces, dtype=np.float64)
            bounds = self.batch.offsets
            for b in np.flatnonzero(leaving).tolist():
                rows = slice(bounds[b], bounds[b + 1])
                if good[b]:
                    result = self._done(b, energy[b], raw[rows], largest[b], bool(converged[b]))
                else:
                    result = self._broken(b, energy[b], largest[b])
                out.append(result)
            forces = forces[self._atoms_of(np.flatnonzero(~leaving))]
            self._keep(np.flatnonzero(~leaving))
        if len(self):
            moves = step(self._motion, forces, self._rules.fire)
            self.batch = replace(self.batch, positions=self.batch.positions + moves)
            self._steps = self._steps + 1
        return out

    def fail(self, b: int, error: ForcegateError) -> Relaxed:
        """Structure ``b`` of ``batch`` leaves with ``error``."""
        return self._leave_with_problems({b: error})[0]

    def _join(self, taken: Sequence[tuple[int, Atoms]], held: Bool) -> None:
        fresh = StructureBatch.from_atoms([atoms for _, atoms in taken])
        at_rest = Motion.at_rest(fresh.n_atoms, self._rules.fire)
        self.batch = StructureBatch.concatenate([self.batch, fresh])
        self._motion = self._motion.joined(at_rest)
        self._held = np.concatenate([self._held, held])
        self._steps = np.concatenate([self._steps, np.zeros(len(taken), dtype=np.int64)])
        self._start_energies = np.concatenate([self._start_energies, np.zeros(len(taken))])
        self._given = [*self._given, *taken]

    def _keep(self, chosen: Int) -> None:
        self._held = self._held[self._atoms_of(chosen)]
        self.batch = self.batch.select(chosen)
        self._motion = self._motion.select(chosen)
        self._steps = self._steps[chosen]
        self._start_energies = self._start_energies[chosen]
        self._given = [self._given[b] for b in chosen.tolist()]

    def _atoms_of(self, chosen: Int) -> Int:
        return segments(self.batch.offsets[chosen], self.batch.n_atoms[chosen])

    def _largest(self, forces: Float) -> Float:
        """[B]; NaN where any force of a structure is not finite, which no comparison passes."""
        squares = np.einsum("ij,ij->i", forces, forces)
        starts = np.cumsum(self.batch.n_atoms) - self.batch.n_atoms
        largest: Float = np.sqrt(np.maximum.reduceat(squares, starts))
        return largest

    def _leave_with_problems(self, problems: dict[int, ForcegateError]) -> list[Relaxed]:
        if not problems:
            return []
        out = []
        for b, error in sorted(problems.items()):
            start = float(self._start_energies[b]) if self._steps[b] else None
            index = self._given[b][0]
            out.append(failed(index, self._moved(b), start, int(self._steps[b]), error))
        self._keep(np.array([b for b in range(len(self)) if b not in problems], dtype=np.int64))
        return out

    def _done(
        self, b: int, energy: float, forces: Float, largest: float, converged: bool
    ) -> Relaxed:
        return Relaxed(
            index=self._given[b][0],
            atoms=with_results(self._moved(b), energy, forces),
            start_energy=float(self._start_energies[b]),
            energy=float(energy),
            max_force=float(largest),
            steps=int(self._steps[b]),
            converged=converged,
        )

    def _broken(self, b: int, energy: float, largest: float) -> Relaxed:
        steps = int(self._steps[b])
        if np.isfinite(energy) and np.isfinite(largest):
            received = f"a force of {largest:.3g} eV/Å after {steps} steps"
        else:
            received = f"an energy or force that is not finite after {steps} steps"
        error = PredictionNotFinite(
            received,
            expected=f"forces up to {self._rules.explosion:g} eV/Å",
            action="start from a geometry nearer to a minimum",
            code=None if "finite" in received else "relaxation_exploded",
        )
        start = float(self._start_energies[b]) if steps else None
        return failed(self._given[b][0], self._moved(b), start, steps, error)

    def _moved(self, b: int) -> Atoms:
        atoms = self._given[b][1].copy()
        forget_results(atoms)
        rows = slice(self.batch.offsets[b], self.batch.offsets[b + 1])
        # Not through ``set_positions``, which would apply constraints to what obeys them already.
        atoms.arrays["positions"][:] = self.batch.positions[rows]
        return atoms
