"""The one place where inference starts: a single thread and the queues before it.

Work-conserving: when a version can take a batch, whatever waits for it is packed into one at once;
meanwhile the next one collects. Nothing ever waits on a timer. Versions take turns, batch by batch;
within a version callers do.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import numpy as np

from forcegate_client.checks.plausible import implausible
from forcegate_client.columns import finite as finite_rows
from forcegate_client.columns import not_finite
from forcegate_service.graph import Structures
from forcegate_service.graph_size import size_of
from forcegate_service.isolation import Faults, evaluate_isolated
from forcegate_service.metrics import Metrics
from forcegate_service.runtime import ModelOutput
from forcegate_service.scheduling.batch_limit import Piece
from forcegate_service.scheduling.cost import Timing
from forcegate_service.scheduling.fair_queue import FairQueue
from forcegate_service.scheduling.flow import Flow
from forcegate_service.scheduling.version import ServedVersion
from forcegate_service.subgraph import merge

__all__ = ["Answer", "Dispatcher"]

T = TypeVar("T")

# Threads that only wait; as many as batches that are being evaluated at the same time.
_LARGEST_POOL = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome for one submitted piece, and the seconds it waited and was computed.

    ``faults`` are the structures whose row of ``output`` is no answer; ``finite``: every number of
    it is.
    """

    output: ModelOutput
    faults: Faults
    finite: bool
    queue_s: float
    inference_s: float


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    version: ServedVersion
    piece: Piece
    flow: Flow
    future: asyncio.Future[Answer]
    queued_at: float


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    function: Callable[[], Any]
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Done:
    """A batch of ``version`` that was evaluated elsewhere has come to its end."""

    version: ServedVersion


class Dispatcher:
    """Evaluates structures in batches on its own thread.

    Always the same thread, because every thread that calls torch gets an OpenMP pool of its own;
    but batches of a runtime that takes several at a time only wait, on threads of a pool.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._inbox: SimpleQueue[list[_Work] | _Call | _Done | None] = SimpleQueue()
        self._submitted: list[_Work] = []
        self._calls: deque[_Call] = deque()
        # In the order of their turns; each has work.
        self._queues: dict[ServedVersion, FairQueue[_Work]] = {}
        # Batches that are evaluated on the pool.
        self._running: Counter[ServedVersion] = Counter()
        self._pool = ThreadPoolExecutor(_LARGEST_POOL, "forcegate-batch")
        # Predicted seconds by batch; touched by whichever thread evaluates it.
        self._evaluating: dict[int, float] = {}
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._run, name="forcegate-inference", daemon=True)
        self._thread.start()

    def submit(self, version: ServedVersion, piece: Piece, flow: Flow) -> asyncio.Future[Answer]:
        """Queue ``piece`` behind what else ``flow`` asked for.

        Cancelling the future takes it out of the queue.
        """
        future: asyncio.Future[Answer] = self._loop.create_future()
        if not self._submitted:
            # Once for a turn of the loop: woken for each, the thread would fight for the
            # interpreter with the loop that has more to submit.
            self._loop.call_soon(self.hand_over)
        self._submitted.append(_Work(version, piece, flow, future, time.perf_counter()))
        return future

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run ``function`` on the inference thread between two batches, e.g. to load a model."""
        future: asyncio.Future[T] = self._loop.create_future()
        # In the order in which all was asked for.
        self.hand_over()
        self._inbox.put(_Call(function, future))
        return future

    @property
    def running_s(self) -> float:
        """Predicted time of the work in batches that are being evaluated."""
        # A copy in one step, because other threads change it.
        return sum(list(self._evaluating.values()))

    async def close(self) -> None:
        """Finish what is queued, then end the thread."""
        self.hand_over()
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    @property
    def idle(self) -> bool:
        """Whether nothing is being evaluated, nor about to be."""
        return not (self._submitted or self._evaluating) and self._inbox.empty()

    def hand_over(self) -> None:
        """Let the thread have what was submitted, without waiting for the end of this turn."""
        submitted, self._submitted = self._submitted, []
        if submitted:
            self._inbox.put(submitted)

    def _run(self) -> None:
        while not (self._closing and self._idle()):
            self._collect()
            # One call at a time: whoever loads a model must not stop the others for long.
            if self._calls:
                self._execute(self._calls.popleft())
            version = self._next()
            if version is not None:
                self._start(version)
        self._pool.shutdown()

    def _idle(self) -> bool:
        return not (self._calls or self._queues or self._running)

    def _next(self) -> ServedVersion | None:
        """The version whose turn it is, of those that can take another batch."""
        for version in self._queues:
            if self._running[version] < version.runtime.concurrency:
                return version
        return None

    def _collect(self) -> None:
        """Take in all that has arrived; wait only if there is nothing to do."""
        try:
            while True:
                busy = self._calls or self._next() or (self._closing and self._idle())
                arrived = self._inbox.get(block=not busy)
                if arrived is None:
                    self._closing = True
                elif isinstance(arrived, _Done):
                    self._running[arrived.version] -= 1
                    if not self._running[arrived.version]:
                        del self._running[arrived.version]
                elif isinstance(arrived, _Call):
                    self._calls.append(arrived)
                else:
                    for work in arrived:
                        queue = self._queues.setdefault(work.version, FairQueue())
                        queue.push(work.flow, work.piece.share, work)
        except Empty:
            pass

    def _start(self, version: ServedVersion) -> None:
        queue = self._queues.pop(version)
        batch = queue.pack(_is_wanted)
        if queue:
            self._queues[version] = queue
        if not batch:
            return
        if version.runtime.concurrency == 1 and not self._running[version]:
            self._evaluate(version, batch)
        else:
            self._running[version] += 1
            self._pool.submit(self._evaluate_aside, version, batch)

    def _evaluate_aside(self, version: ServedVersion, batch: Sequence[_Work]) -> None:
        try:
            self._evaluate(version, batch)
        finally:
            self._inbox.put(_Done(version))

    def _evaluate(self, version: ServedVersion, batch: Sequence[_Work]) -> None:
        started = time.perf_counter()
        self._evaluating[id(batch)] = sum(work.piece.seconds for work in batch)
        try:
            structures = merge([work.piece.structures for work in batch])
            output, faults = evaluate_isolated(version.runtime, structures)
            inference_s = time.perf_counter() - started
            counted = partial(
                self._metrics.batch, len(output.energy), structures.n_edges, inference_s
            )
            if not faults:
                version.limit.cost.observe(Timing(size_of(structures), inference_s))
            # Of the whole batch at once: the checks of one molecule take as long as those of ten.
            finite = _all_finite(output)
            faults = _judged(output, structures, version, finite) | faults
            answers = _divide(batch, output, faults, finite, started, inference_s)
        except Exception as error:
            # Nobody is there to evaluate it, or a defect of ours; the thread must outlive it and
            # every caller must hear of it.
            self._post([work.future for work in batch], [error] * len(batch))
        else:
            self._post([work.future for work in batch], answers, counted)
        finally:
            del self._evaluating[id(batch)]

    def _execute(self, call: _Call) -> None:
        try:
            outcome = call.function()
        except Exception as error:
            outcome = error
        self._post([call.future], [outcome])

    def _post(
        self,
        futures: Sequence[asyncio.Future[Any]],
        outcomes: Sequence[object],
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Let the loop settle ``futures``, and do ``then`` when whoever waited has gone on."""
        self._loop.call_soon_threadsafe(self._settle, futures, outcomes, then)

    def _settle(
        self,
        futures: Sequence[asyncio.Future[Any]],
        outcomes: Sequence[object],
        then: Callable[[], None],
    ) -> None:
        for future, outcome in zip(futures, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        self._loop.call_soon(then)


def _is_wanted(work: _Work) -> bool:
    return not work.future.cancelled()


def _divide(
    batch: Sequence[_Work],
    output: ModelOutput,
    faults: Faults,
    finite: bool,
    started: float,
    inference_s: float,
) -> list[Answer]:
    answers = []
    structure = atom = 0
    for work in batch:
        last_structure = structure + len(work.piece.structures.n_atoms)
        last_atom = atom + len(work.piece.structures.atomic_numbers)
        structures, atoms = slice(structure, last_structure), slice(atom, last_atom)
        own = output.part(structures, atoms)
        answers.append(
            Answer(
                output=own,
                faults={
                    index - structure: error
                    for index, error in faults.items()
                    if structure <= index < last_structure
                }
                if faults
                else faults,
                finite=finite or _all_finite(own),
                queue_s=started - work.queued_at,
                inference_s=inference_s,
            )
        )
        structure, atom = last_structure, last_atom
    return answers


def _judged(
    output: ModelOutput, structures: Structures, version: ServedVersion, finite: bool
) -> Faults:
    """The structures whose answer is none that could be true, or no number at all."""
    limits = version.card.limits
    found: Faults = {**implausible(output, structures, version.atoms_alone, limits)}
    if not finite:
        bad = np.flatnonzero(~finite_rows(output, structures.n_atoms))
        found |= {b: not_finite() for b in bad.tolist()}
    return found


def _all_finite(output: ModelOutput) -> bool:
    return all(
        np.count_nonzero(np.isfinite(column)) == column.size
        for column in output
        if column is not None
    )
