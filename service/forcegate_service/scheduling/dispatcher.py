"""The one place where inference runs: a single thread and the queue before it.

Work-conserving: when the thread is free, whatever waits for the same model is packed into a batch
at once; while a batch runs, the next one collects. Nothing ever waits on a timer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from forcegate_service.graph import Graph
from forcegate_service.isolation import Faults, evaluate_isolated
from forcegate_service.metrics import Metrics
from forcegate_service.runtime import LoadedRuntime, ModelOutput
from forcegate_service.subgraph import merge

__all__ = ["Answer", "Dispatcher"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome for one submitted graph, and the seconds it waited and was computed."""

    output: ModelOutput
    faults: Faults
    queue_s: float
    inference_s: float


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    runtime: LoadedRuntime
    graph: Graph
    future: asyncio.Future[Answer]
    queued_at: float

    @property
    def load(self) -> int:
        return self.graph.n_edges + len(self.graph.atomic_numbers)


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    function: Callable[[], Any]
    future: asyncio.Future[Any]


class Dispatcher:
    """Runs graphs in batches of at most ``batch_load`` edges and atoms on its own thread.

    Always the same thread: every thread that calls torch gets an OpenMP pool of its own.
    """

    def __init__(self, batch_load: int, metrics: Metrics) -> None:
        self._batch_load = batch_load
        self._metrics = metrics
        self._inbox: SimpleQueue[_Work | _Call | None] = SimpleQueue()
        self._waiting: deque[_Work | _Call] = deque()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._run, name="forcegate-inference", daemon=True)
        self._thread.start()

    def submit(self, runtime: LoadedRuntime, graph: Graph) -> asyncio.Future[Answer]:
        """Queue ``graph``; cancelling the future takes it out of the queue."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._inbox.put(_Work(runtime, graph, future, time.perf_counter()))
        return future

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run ``function`` on the inference thread, e.g. to load a model there."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._inbox.put(_Call(function, future))
        return future

    async def close(self) -> None:
        """Finish what is queued, then end the thread."""
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while self._collect():
            first = self._waiting.popleft()
            if isinstance(first, _Call):
                self._execute(first)
            elif not first.future.cancelled():
                self._evaluate(self._pack(first))

    def _collect(self) -> bool:
        """Take in all that has arrived; wait only if there is nothing to do."""
        try:
            while not self._closing:
                arrived = self._inbox.get(block=not self._waiting)
                if arrived is None:
                    self._closing = True
                else:
                    self._waiting.append(arrived)
        except Empty:
            pass
        return bool(self._waiting)

    def _pack(self, first: _Work) -> list[_Work]:
        """``first`` and what may run with it, in order of arrival, until the batch is full."""
        batch, load = [first], first.load
        passed_over: list[_Work | _Call] = []
        while self._waiting:
            work = self._waiting.popleft()
            if not isinstance(work, _Work) or work.runtime is not first.runtime:
                passed_over.append(work)
            elif not work.future.cancelled():
                load += work.load
                if load > self._batch_load:
                    passed_over.append(work)
                    break
                batch.append(work)
        self._waiting.extendleft(reversed(passed_over))
        return batch

    def _evaluate(self, batch: Sequence[_Work]) -> None:
        started = time.perf_counter()
        try:
            output, faults = evaluate_isolated(
                batch[0].runtime, merge([work.graph for work in batch])
            )
            inference_s = time.perf_counter() - started
            self._metrics.batch(len(output.energy), inference_s)
            answers = _divide(batch, output, faults, started, inference_s)
        except Exception as error:
            # A defect of ours; the thread must outlive it and every caller must hear of it.
            self._post([work.future for work in batch], [error] * len(batch))
        else:
            self._post([work.future for work in batch], answers)

    def _execute(self, call: _Call) -> None:
        try:
            outcome = call.function()
        except Exception as error:
            outcome = error
        self._post([call.future], [outcome])

    def _post(self, futures: Sequence[asyncio.Future[Any]], outcomes: Sequence[object]) -> None:
        self._loop.call_soon_threadsafe(_settle, futures, outcomes)


def _settle(futures: Sequence[asyncio.Future[Any]], outcomes: Sequence[object]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _divide(
    batch: Sequence[_Work],
    output: ModelOutput,
    faults: Faults,
    started: float,
    inference_s: float,
) -> list[Answer]:
    answers = []
    structure = atom = 0
    for work in batch:
        last_structure = structure + len(work.graph.n_atoms)
        last_atom = atom + len(work.graph.atomic_numbers)
        structures, atoms = slice(structure, last_structure), slice(atom, last_atom)
        answers.append(
            Answer(
                output=ModelOutput(
                    energy=output.energy[structures],
                    forces=output.forces[atoms],
                    virial=output.virial[structures],
                    energy_uncertainty=output.energy_uncertainty[structures],
                    atom_novelty=output.atom_novelty[atoms],
                ),
                faults={
                    index - structure: error
                    for index, error in faults.items()
                    if structure <= index < last_structure
                },
                queue_s=started - work.queued_at,
                inference_s=inference_s,
            )
        )
        structure, atom = last_structure, last_atom
    return answers
