"""Students in the engine: on this machine's processor, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forcegate_engine import EngineError, Evaluation, Model, integrate, relax
from forcegate_engine.errors import LibraryMissing, NotFinite
from forcegate_engine.relaxation import FIRE
from forcegate_service.contract.card import ENGINE_NAME, ModelCard
from forcegate_service.contract.errors import ModelRefused, RuntimeFault
from forcegate_service.contract.motion import Chunk, Moved
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.size import engine_need
from forcegate_service.contract.structures import Structures

__all__ = ["EngineRuntime"]

Bool = npt.NDArray[np.bool_]


class EngineRuntime:
    """One version of a model; its answers are the same bits in every batch, on any threads.

    The interpreter's lock is free while it evaluates.
    """

    concurrency = 1
    moves = True

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Load ``folder`` (one version of a model), to be evaluated by so many threads.

        Raises:
            ModelRefused: if the files do not match the card, or hold no weights of its student.
            LibraryMissing: if the compiled library is not there.
        """
        self.card = card = ModelCard.load(folder)
        # What was checked is what is computed from, even if the file changes in between.
        weights = card.read(folder, ENGINE_NAME)
        try:
            self._model = model = Model(weights)
        except LibraryMissing:
            raise
        except EngineError as error:
            raise _refused(folder, str(error)) from error
        self._threads = threads
        self.memory = engine_need(card.architecture)
        known = (model.interface, model.cutoff, set(model.elements))
        if known != (card.interface, card.cutoff, set(card.elements)):
            raise _refused(folder, "weights with another interface, cutoff or elements")
        if card.charges and model.pair_cutoff != card.pair_cutoff:
            raise _refused(folder, f"weights whose pairs end at {model.pair_cutoff} Å")

    def evaluate(self, structures: Structures) -> ModelOutput:
        """The student's answer for all ``structures``.

        Raises:
            RuntimeFault: if it has none for one of them.
        """
        try:
            answer: Evaluation = self._model.evaluate(
                structures.atomic_numbers,
                structures.positions,
                n_atoms=structures.n_atoms,
                cells=structures.cells,
                pbc=structures.pbc,
                threads=self._threads,
                finite=False,
            )
        except EngineError as error:
            raise RuntimeFault(f"the model failed: {error}") from error
        return ModelOutput(
            answer.energy,
            answer.forces,
            answer.virial,
            answer.energy_uncertainty,
            answer.atom_novelty,
            answer.charges,
        )

    def advance(self, chunk: Chunk) -> Moved:
        """The runs of ``chunk`` some steps further; one that fails stays where it was.

        Raises:
            RuntimeFault: if something failed that none of them is to blame for.
        """
        moved = Moved.nowhere(chunk, self.card.charges)
        rest = np.ones(len(chunk.n_atoms), dtype=np.bool_)
        move = self._integrate if chunk.method == "dynamics" else self._relax
        while rest.any():
            try:
                move(chunk, moved, rest)
                return moved
            except _FailedRun as failed:
                # The others go from where they were once more: it is the same way.
                rest[failed.run] = False
                moved = Moved.nowhere(chunk, self.card.charges)._replace(
                    failed=moved.failed | {failed.run: failed.why}
                )
        return moved

    def _integrate(self, chunk: Chunk, moved: Moved, rest: Bool) -> None:
        each, done = chunk.each, 0
        # All take the steps that all of them have to take; then some are where they should be.
        for until in np.unique(each["steps"][rest]).tolist():
            runs = rest & (each["steps"] > done)
            atoms = np.repeat(runs, chunk.n_atoms)
            own = each[runs]
            with _naming(runs):
                motion = integrate(
                    *(self._model, chunk.atomic_numbers[atoms], moved.positions[atoms]),
                    *(moved.velocities[atoms], chunk.masses[atoms]),
                    steps=until - done,
                    timestep_fs=own["timestep_fs"],
                    temperature_k=own["temperature_k"],
                    friction_per_fs=own["friction_per_fs"],
                    seed=own["seed"].astype(np.int64),
                    start_step=own["start_step"] + done,
                    streams=own["stream"],
                    forces=moved.forces[atoms],
                    fixed=chunk.fixed[atoms],
                    n_atoms=chunk.n_atoms[runs],
                    cells=chunk.cells[runs],
                    pbc=chunk.pbc[runs],
                    threads=self._threads,
                )
            moved.positions[atoms], moved.velocities[atoms] = motion.positions, motion.velocities
            moved.each["steps"][runs] = done = until
            _write(moved, motion.evaluation, runs, atoms)

    def _relax(self, chunk: Chunk, moved: Moved, runs: Bool) -> None:
        atoms = np.repeat(runs, chunk.n_atoms)
        own = chunk.each[runs]
        fires = np.zeros(len(own), dtype=FIRE)
        for name in FIRE.names or ():
            fires[name] = own[name]
        with _naming(runs):
            minimum = relax(
                *(self._model, chunk.atomic_numbers[atoms], chunk.positions[atoms]),
                fmax=own["fmax"],
                max_steps=own["steps"],
                fixed=chunk.fixed[atoms],
                forces=chunk.forces[atoms],
                velocities=chunk.velocities[atoms],
                fires=fires,
                n_atoms=chunk.n_atoms[runs],
                cells=chunk.cells[runs],
                pbc=chunk.pbc[runs],
                threads=self._threads,
            )
        moved.positions[atoms], moved.velocities[atoms] = minimum.positions, minimum.velocities
        moved.converged[runs] = minimum.converged
        moved.each["steps"][runs] = minimum.steps
        for name in FIRE.names or ():
            moved.each[name][runs] = minimum.fires[name]
        _write(moved, minimum.evaluation, runs, atoms)

    def close(self) -> None:
        """Forget the weights."""
        del self._model


class _FailedRun(Exception):
    def __init__(self, run: int, why: tuple[str, str]) -> None:
        super().__init__(why[1])
        self.run, self.why = run, why


@contextmanager
def _naming(runs: Bool) -> Iterator[None]:
    """Tell which of ``runs`` is to blame for what the engine raises."""
    try:
        yield
    except EngineError as error:
        if error.structure is None:
            raise RuntimeFault(f"the model failed: {error}") from error
        code = "prediction_not_finite" if isinstance(error, NotFinite) else "prediction_failed"
        run = int(np.flatnonzero(runs)[error.structure])
        raise _FailedRun(run, (code, str(error))) from error


def _write(moved: Moved, answer: Evaluation, runs: Bool, atoms: Bool) -> None:
    moved.forces[atoms] = answer.forces
    moved.energy[runs] = answer.energy
    moved.energy_uncertainty[runs] = answer.energy_uncertainty
    moved.atom_novelty[atoms] = answer.atom_novelty
    if moved.charges is not None and answer.charges is not None:
        moved.charges[atoms] = answer.charges


def _refused(folder: Path, received: str) -> ModelRefused:
    return ModelRefused(
        f"{folder / ENGINE_NAME}: {received}",
        expected="the weights of the student that the card describes",
        action="export the model again",
    )
