"""How a run comes to be some steps further: in the engine, by chunks, or step by step."""

from __future__ import annotations

import numpy as np

from forcegate_client.errors import ForcegateError, InvalidStructure, PredictionNotFinite
from forcegate_service.contract.motion import DESCENT, ENSEMBLE, Chunk, Moved
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.size import GraphSize
from forcegate_service.dynamics.integrators import Stepper, stepper_of
from forcegate_service.dynamics.run import Run
from forcegate_service.queue.dispatcher import Dispatcher
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.queue.microbatch import BatchLimit
from forcegate_service.queue.moving import can_move
from forcegate_service.queue.version import ServedVersion

__all__ = ["ChunkMover", "Mover", "Pace", "StepMover", "mover_of"]

# So many chunks fill a batch where so many runs move: enough for some threads, and few messages.
_TOGETHER = 8
_MOST_STEPS = 10_000
_LEARNING_RATE = 0.2
_FARTHEST = 30.0
# Of steps that are evaluated one by one, between two looks at whether anything else is due.
_STEPS_AT_ONCE = 32


class Pace:
    """How many steps of a run fill its part of a batch, learned from those before.

    ``live`` is the number of runs that move: few of them get larger parts.
    """

    def __init__(self, limit: BatchLimit, threads: int) -> None:
        self._limit = limit
        self._together = max(_TOGETHER, 4 * threads)
        self.live = 0
        # Of one alone a batch computes on fewer cores.
        self._scales = {True: 1.0, False: 1.0}

    def chunk(self, size: GraphSize[float], most: int) -> tuple[int, float, float]:
        """Steps, at least 1 and at most ``most``; the part of a batch; and predicted seconds."""
        lanes = min(max(self.live, 1), self._together)
        target = self._limit.target_s
        each = max(self._scales[lanes == 1] * self._limit.cost.marginal(size), 1e-9)
        steps = min(most, _MOST_STEPS, max(1, int(target / lanes / each)))
        held = (size.atoms + size.edges) / self._limit.load
        return steps, max(steps * each / target, held), steps * each

    def learn(self, predicted_s: float, seconds: float) -> None:
        """A chunk that was predicted to take so long took ``seconds``."""
        alone = self.live <= 1
        if predicted_s > 0.0 and seconds > 0.0:
            moved = self._scales[alone] * (seconds / predicted_s) ** _LEARNING_RATE
            self._scales[alone] = min(max(moved, 1.0 / _FARTHEST), _FARTHEST)


class ChunkMover:
    """Moves a run of dynamics or FIRE inside the engine, a chunk of steps at a time."""

    def __init__(
        self, run: Run, version: ServedVersion, dispatcher: Dispatcher, tenant: Tenant, pace: Pace
    ) -> None:
        self._run, self._version = run, version
        self._dispatcher, self._tenant, self._pace = dispatcher, tenant, pace
        self._each = self._begin()

    async def advance(self, most: int) -> int:
        """Take ``most`` steps or fewer, at least one; returns how many.

        Raises:
            RuntimeUnavailable: if nobody is there to take them.
            ForcegateError: if the structure cannot be moved.
        """
        run = self._run
        steps, share, seconds = self._pace.chunk(run.size, most)
        self._each["steps"] = steps
        if run.request.task == "dynamics":
            self._each["start_step"] = run.state.step
        chunk = self._chunk()
        moved, took = await self._dispatcher.advance(
            self._version, chunk, share, seconds, self._tenant
        )
        if moved.failed:
            code, text = moved.failed[0]
            raise _failure(code, text, run.index)
        self._pace.learn(seconds, took)
        return self._take(moved)

    def _begin(self) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        request = self._run.request
        if request.task == "relax":
            each = np.zeros(1, dtype=DESCENT)
            each["fmax"] = request.fmax
            return each
        each = np.zeros(1, dtype=ENSEMBLE)
        each["timestep_fs"] = request.timestep_fs
        if request.method == "langevin":
            each["temperature_k"] = request.temperature_k
            each["friction_per_fs"] = request.friction_per_fs
        each["seed"], each["stream"] = request.seed, self._run.stream
        return each

    def _chunk(self) -> Chunk:
        run, state = self._run, self._run.state
        structures = run.structures
        return Chunk(
            "dynamics" if run.request.task == "dynamics" else "fire",
            self._each.copy(),
            n_atoms=structures.n_atoms,
            cells=structures.cells,
            pbc=structures.pbc,
            atomic_numbers=run.numbers,
            positions=state.positions,
            velocities=state.velocities,
            forces=state.forces,
            masses=run.masses,
            fixed=run.fixed,
        )

    def _take(self, moved: Moved) -> int:
        run, state = self._run, self._run.state
        state.positions, state.velocities = moved.positions, moved.velocities
        steps = int(moved.each["steps"][0])
        state.step += steps
        run.take(_answer(moved))
        if run.request.task == "relax":
            self._each = moved.each.copy()
            run.converged = bool(moved.converged[0])
        return steps


class StepMover:
    """Moves a run by evaluations like any other, which are batched with those of others."""

    def __init__(
        self, run: Run, version: ServedVersion, dispatcher: Dispatcher, tenant: Tenant
    ) -> None:
        self._run, self._version = run, version
        self._dispatcher, self._tenant = dispatcher, tenant
        self._stepper: Stepper = stepper_of(run)
        # Its positions have been moved, and are not evaluated yet.
        self._between = False

    async def advance(self, most: int) -> int:
        """See ``ChunkMover``."""
        run = self._run
        done = 0
        while done < min(most, _STEPS_AT_ONCE) and not run.converged:
            if not self._between:
                self._stepper.before(run)
                self._between = True
            (microbatch,) = self._version.limit.microbatches(run.here())
            answer = await self._dispatcher.submit(self._version, microbatch, self._tenant)
            if answer.faults:
                raise answer.faults[0]
            run.take(answer.output)
            self._stepper.after(run)
            self._between = False
            done += 1
        return done


Mover = ChunkMover | StepMover


def mover_of(
    run: Run, version: ServedVersion, dispatcher: Dispatcher, tenant: Tenant, pace: Pace
) -> Mover:
    """What moves ``run`` by its method."""
    if can_move(version) and run.request.method != "lbfgs":
        return ChunkMover(run, version, dispatcher, tenant, pace)
    return StepMover(run, version, dispatcher, tenant)


def _answer(moved: Moved) -> ModelOutput:
    return ModelOutput(
        energy=moved.energy,
        forces=moved.forces,
        virial=np.zeros((1, 3, 3)),
        energy_uncertainty=moved.energy_uncertainty,
        atom_novelty=moved.atom_novelty,
        charges=moved.charges,
    )


def _failure(code: str, text: str, structure: int) -> ForcegateError:
    if code == PredictionNotFinite.default_code:
        return PredictionNotFinite(
            f"a run that came to where the model has no finite answer ({text})",
            expected="a geometry like those the model was trained on",
            action="go on from an earlier frame with a shorter timestep",
            structure=structure,
        )
    return InvalidStructure(
        f"a run that cannot be moved further ({text})",
        expected="a structure that the model can evaluate",
        action="look at its last frame; other structures are not affected",
        code=code,
        structure=structure,
    )
