"""The one place where inference starts: the queues before it, and whose turn it is.

Work-conserving: when a version can take a batch, whatever waits for it is packed into one at once;
meanwhile the next one collects. Nothing ever waits on a timer. Versions take turns, batch by batch;
within a version callers do.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from forcegate_client.errors import RuntimeUnavailable
from forcegate_service.contract.motion import Chunk, Moved
from forcegate_service.contract.structures import Structures, merge
from forcegate_service.queue.batch import Answer, Batch, Work
from forcegate_service.queue.fair_queue import FairQueue, Tenant
from forcegate_service.queue.microbatch import Microbatch
from forcegate_service.queue.moving import Move, MovingBatch
from forcegate_service.queue.version import ServedVersion
from forcegate_service.watch.metrics.metrics import Metrics

__all__ = ["Answer", "Dispatcher"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Threads that only wait; as many as batches that are being evaluated at the same time.
_LARGEST_POOL = 256
# What a small request costs the event loop, about.
_REQUEST_S = 150e-6
# Turns of the loop for which more is waited for: at least, on one core, and at most.
_TURNS_TOGETHER, _MOST_TURNS = 6, 12


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    function: Callable[[], Any]
    future: asyncio.Future[Any]


class Dispatcher:
    """Evaluates structures in batches; belongs to the event loop on which it is made.

    Where a runtime has a process of its own the loop asks it; other runtimes are asked on one
    thread, always the same, because every thread that calls torch gets an OpenMP pool of its own.
    Batches of a runtime that takes several at a time only wait, on threads of a pool.
    """

    def __init__(self, metrics: Metrics, apart: Callable[[], bool] = lambda: False) -> None:
        """``apart`` tells whether batches are computed on other cores than this process's."""
        self._metrics = metrics
        self._apart = apart
        self._calls: deque[_Call] = deque()
        # In the order of their turns; each has work.
        self._queues: dict[ServedVersion, FairQueue[Work | Move]] = {}
        self._running: Counter[ServedVersion] = Counter()
        # Whether runtimes that take one batch at a time, and calls, have to wait.
        self._busy = self._called = False
        # Pieces of work in the queues, and whether they are to wait for more.
        self._waiting = 0
        self._held = False
        self._woken = False
        self._pool = ThreadPoolExecutor(_LARGEST_POOL, "forcegate-batch")
        self._thread = ThreadPoolExecutor(1, "forcegate-inference")
        self._batches: set[Batch | MovingBatch] = set()
        # What was packed with a batch of requests and follows it.
        self._packed: deque[MovingBatch] = deque()
        # Evaluated while it is still being checked.
        self._early: Batch | None = None
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._closing = False

    def submit(
        self, version: ServedVersion, microbatch: Microbatch, tenant: Tenant
    ) -> asyncio.Future[Answer]:
        """Queue ``microbatch`` behind what else ``tenant`` asked for.

        Cancelling the future takes it out of the queue.
        """
        future: asyncio.Future[Answer] = self._loop.create_future()
        work = Work(microbatch, future, time.perf_counter())
        early, self._early = self._early, None
        same = early is not None and early.version is version
        if (
            early is not None
            and same
            and early.structures.positions is microbatch.structures.positions
        ):
            early.work, early.structures, early.seconds = (
                [work],
                microbatch.structures,
                microbatch.seconds,
            )
            return future
        self._push(version, tenant, microbatch.share, work)
        self._waiting += 1
        return future

    def advance(
        self, version: ServedVersion, chunk: Chunk, share: float, seconds: float, tenant: Tenant
    ) -> asyncio.Future[tuple[Moved, float]]:
        """Queue ``chunk``, which fills that ``share`` of a batch, behind what else ``tenant`` asked
        for; its runtime must move runs itself. The answer tells the seconds that it took.

        Cancelling the future takes it out of the queue.
        """
        future: asyncio.Future[tuple[Moved, float]] = self._loop.create_future()
        self._push(version, tenant, share, Move(chunk, seconds, future))
        return future

    def _push(
        self, version: ServedVersion, tenant: Tenant, share: float, work: Work | Move
    ) -> None:
        queue = self._queues.get(version)
        if queue is None:
            queue = self._queues[version] = FairQueue()
        queue.push(tenant, share, work)
        if not self._woken:
            # At the end of this turn of the loop, which may have more to submit.
            self._woken = True
            self._loop.call_soon(self.hand_over)

    def begin_early(self, version: ServedVersion, structures: Structures) -> None:
        """Evaluate what is about to be submitted while it is being checked, if nothing is to do and
        the runtime needs no thread.

        The answer is thrown away unless ``submit`` comes next, with the same positions.
        """
        self._early = None
        if self._calls or not self.idle:
            return
        batch = Batch(version, [], structures, 0.0, time.perf_counter(), True)
        self._occupy(batch)
        if self._started(batch):
            self._early = batch
        else:
            self._end(batch)

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run ``function`` on the inference thread between two batches, e.g. to load a model."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.append(_Call(function, future))
        self.hand_over()
        return future

    @property
    def running_s(self) -> float:
        """Predicted time of the work in batches that are being evaluated."""
        return sum(batch.seconds for batch in self._batches)

    async def close(self) -> None:
        """Finish what is queued, then end the threads."""
        self._closing = True
        self.hand_over()
        await self._ended
        for threads in (self._thread, self._pool):
            await asyncio.to_thread(threads.shutdown)

    @property
    def idle(self) -> bool:
        """Whether nothing is being evaluated, nor about to be."""
        return not (self._busy or self._batches or self._queues or self._packed)

    def hand_over(self) -> None:
        """Start what can be started, without waiting for the end of this turn."""
        self._woken = False
        while not self._held and self._step():
            pass
        if self._closing and not self._ended.done() and self.idle and not self._calls:
            self._ended.set_result(None)

    def _step(self) -> bool:
        """Start one call or batch; False if nothing can be started now."""
        if self._packed and not self._busy:
            self._run(self._packed.popleft())
            return True
        version = self._next()
        # One call between two batches: whoever loads a model must not stop the others for long.
        if self._calls and not self._busy and not (self._called and version is not None):
            self._execute(self._calls.popleft())
            return True
        if version is None:
            return False
        self._start(version)
        return True

    def _next(self) -> ServedVersion | None:
        """The version whose turn it is, of those that can take another batch."""
        for version in self._queues:
            lanes = version.runtime.concurrency
            if self._running[version] < lanes and not (lanes == 1 and self._busy):
                return version
        return None

    def _start(self, version: ServedVersion) -> None:
        queue = self._queues.pop(version)
        packed = queue.pack(_is_wanted)
        if queue:
            self._queues[version] = queue
        work = [one for one in packed if isinstance(one, Work)]
        self._waiting = max(0, self._waiting - len(work)) if self._queues else 0
        # Requests first: whoever waits for one has nothing to do meanwhile.
        moves = [one for one in packed if isinstance(one, Move)]
        for method in {move.chunk.method: None for move in moves}:
            alike = [move for move in moves if move.chunk.method == method]
            seconds = sum([move.seconds for move in alike])
            self._packed.append(MovingBatch(version, alike, seconds))
        if not work:
            return
        batch = Batch(
            version,
            work,
            merge([one.microbatch.structures for one in work]),
            sum([one.microbatch.seconds for one in work]),
            time.perf_counter(),
            version.runtime.concurrency == 1,
        )
        self._run(batch)

    def _run(self, batch: Batch | MovingBatch) -> None:
        self._occupy(batch)
        if not self._started(batch):
            self._evaluate_aside(batch)

    def _started(self, batch: Batch | MovingBatch) -> bool:
        """Whether its runtime needs no thread to wait for it, and has begun."""
        try:
            return batch.begin(partial(self._computed, batch))
        except Exception:
            # Told, and perhaps mended, by whoever evaluates it on a thread.
            logger.exception("a batch of %s was not started", batch.version.name)
            return False

    def _hold_back(self, done: int, seconds: float) -> None:
        """Start nothing yet if what waits, at the speed of the ``done`` before, would be computed
        before the loop is through with those: more will have come by then, and a batch costs the
        loop as much as several requests. On one core nothing is lost by it.
        """
        if done < 2:
            return
        apart = self._apart()
        if not apart or self._waiting * seconds / done < _REQUEST_S * done:
            self._held = True
            least = 0 if apart else _TURNS_TOGETHER
            self._loop.call_soon(self._look_again, -1, least, _MOST_TURNS)

    def _look_again(self, waiting: int, least: int, most: int) -> None:
        """Go on holding back as long as every turn of the loop brings more, for so many turns."""
        if most and (least or self._waiting > waiting):
            if least:
                # There may be clients on this core, too.
                os.sched_yield()
            self._loop.call_soon(self._look_again, self._waiting, max(0, least - 1), most - 1)
        else:
            self._held = False
            self.hand_over()

    def _occupy(self, batch: Batch | MovingBatch) -> None:
        self._running[batch.version] += 1
        self._batches.add(batch)
        if batch.alone:
            self._busy, self._called = True, False

    def _computed(self, batch: Batch | MovingBatch, outcome: Any, seconds: float) -> None:
        """The runtime has told the loop what became of ``batch``."""
        if not batch.work:
            # It was refused.
            self._end(batch)
        elif isinstance(outcome, RuntimeUnavailable):
            self._end(batch)
            self._settle(batch, outcome)
        elif isinstance(outcome, Exception):
            # Who is to blame is found on a thread.
            self._evaluate_aside(batch, failed=True)
        else:
            if isinstance(batch, Batch):
                self._hold_back(len(batch.work), seconds)
            # The next one first: its runtime waits, and whoever asked for this one can.
            self._end(batch)
            try:
                answers = batch.answers(outcome, seconds)
            except Exception as error:
                self._settle(batch, error)
            else:
                self._settle(batch, answers, seconds)

    def _evaluate_aside(self, batch: Batch | MovingBatch, failed: bool = False) -> None:
        threads = self._thread if batch.alone else self._pool
        running = self._loop.run_in_executor(threads, _evaluated, batch, failed)
        running.add_done_callback(partial(self._evaluated, batch))

    def _evaluated(self, batch: Batch | MovingBatch, running: asyncio.Future[Any]) -> None:
        self._end(batch)
        # Nobody is there to evaluate it, or a defect of ours; every caller must hear of it.
        error = running.exception()
        if error is None:
            self._settle(batch, *running.result())
        else:
            self._settle(batch, error)

    def _end(self, batch: Batch | MovingBatch) -> None:
        self._batches.remove(batch)
        self._running[batch.version] -= 1
        if not self._running[batch.version]:
            del self._running[batch.version]
        if batch.alone:
            self._busy = False
        self.hand_over()

    def _settle(
        self,
        batch: Batch | MovingBatch,
        outcome: Sequence[Any] | BaseException,
        seconds: float = 0.0,
    ) -> None:
        if isinstance(outcome, BaseException):
            for work in batch.work:
                if not work.future.done():
                    work.future.set_exception(outcome)
            return
        waiting: Sequence[Work | Move] = batch.work
        for asked, answer in zip(waiting, outcome, strict=True):
            if not asked.future.done():
                asked.future.set_result(answer)
        # When whoever waited has gone on.
        self._loop.call_soon(self._count, batch, seconds)

    def _count(self, batch: Batch | MovingBatch, seconds: float) -> None:
        if isinstance(batch, Batch):
            structures = batch.structures
            self._metrics.batch(len(structures.n_atoms), structures.n_edges, seconds)
        else:
            self._metrics.moved(len(batch.work), seconds)

    def _execute(self, call: _Call) -> None:
        self._busy = self._called = True
        running = self._loop.run_in_executor(self._thread, call.function)
        running.add_done_callback(partial(self._executed, call))

    def _executed(self, call: _Call, running: asyncio.Future[Any]) -> None:
        self._busy = False
        # Asked for in any case: whoever gave up waiting does not.
        error = running.exception()
        if not call.future.done():
            if error is None:
                call.future.set_result(running.result())
            else:
                call.future.set_exception(error)
        self.hand_over()


def _evaluated(batch: Batch | MovingBatch, failed: bool) -> tuple[Sequence[Any], float]:
    """The answers, on a thread, and the seconds that the evaluation took."""
    started = time.perf_counter()
    outcome: Any = batch.evaluate(failed)
    seconds = time.perf_counter() - started
    return batch.answers(outcome, seconds), seconds


def _is_wanted(work: Work | Move) -> bool:
    return not work.future.cancelled()
