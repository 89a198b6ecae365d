"""Runtimes that take several batches at a time, beside those that take one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from prometheus_client import CollectorRegistry

from forcegate_client.errors import RuntimeUnavailable, TooManyRequests
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.errors import nobody_evaluates
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.queue.admission import Budget
from forcegate_service.queue.cost import CostModel
from forcegate_service.queue.dispatcher import Answer, Dispatcher
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.queue.microbatch import BatchLimit, Microbatch
from forcegate_service.queue.version import ServedVersion
from forcegate_service.runtimes.fake import FakeRuntime, load_fake, write_fake_model
from forcegate_service.watch.metrics.metrics import Metrics

pytestmark = pytest.mark.anyio

WAIT_S = 60.0
ANN, BOB = Tenant("ann", "1"), Tenant("bob", "1")
# Fills a batch.
PIECE = Microbatch(build_graph(StructureBatch.from_atoms([molecule("H2O")]), 5.0), 1.0, 0.01)


class _Lanes(FakeRuntime):
    """Takes ``concurrency`` batches at a time, which wait for the gate; remembers how many it had.

    ``fail`` is told the number of each batch, from 0, and may raise.
    """

    def __init__(self, folder: Path, concurrency: int) -> None:
        super().__init__(load_fake(folder).card)
        self.concurrency = concurrency
        self.gate = threading.Event()
        self.fail: Callable[[int], None] = lambda number: None
        self.threads: list[int] = []
        self.running = self.most = self.ended = 0
        self._lock = threading.Lock()

    def evaluate(self, graph: Graph) -> ModelOutput:
        with self._lock:
            number = len(self.threads)
            self.threads.append(threading.get_ident())
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            assert self.gate.wait(WAIT_S)
            self.fail(number)
            with self._lock:
                return super().evaluate(graph)
        finally:
            with self._lock:
                self.running -= 1
                self.ended += 1

    async def asked(self, times: int) -> None:
        """Wait until so many batches have come, and see that no more do."""
        async with asyncio.timeout(WAIT_S):
            while len(self.threads) < times:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert len(self.threads) == times


class _Stage:
    """A dispatcher, and versions that take as many batches at a time as their name says."""

    def __init__(self, folder: Path) -> None:
        self.card = write_fake_model(folder)
        self._folder = folder / self.card.name / self.card.version
        self.dispatcher = Dispatcher(Metrics(CollectorRegistry()))
        self._limit = BatchLimit(CostModel(0.0, 1e-5, 1e-6), 0.05, 10**6)
        self.runtimes: list[_Lanes] = []

    def version(self, concurrency: int) -> tuple[ServedVersion, _Lanes]:
        runtime = _Lanes(self._folder, concurrency)
        self.runtimes.append(runtime)
        return ServedVersion(runtime, self._limit, self.card, np.zeros(119)), runtime

    def submit(self, version: ServedVersion, times: int = 1) -> list[asyncio.Future[Answer]]:
        return [self.dispatcher.submit(version, PIECE, ANN) for _ in range(times)]


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[_Stage]:
    staged = _Stage(folder)
    try:
        # Whoever is forgotten must not wait for ever.
        async with asyncio.timeout(WAIT_S):
            yield staged
    finally:
        for runtime in staged.runtimes:
            runtime.gate.set()
        await staged.dispatcher.close()


async def test_a_runtime_with_two_lanes_has_two_batches_at_a_time_and_never_three(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as staged:
        version, runtime = staged.version(2)
        asked = staged.submit(version, 20)
        await runtime.asked(2)
        runtime.gate.set()
        await asyncio.gather(*asked)
        assert runtime.batches == [1] * 20
        assert runtime.most == 2
        assert await staged.dispatcher.call(threading.get_ident) not in runtime.threads


async def test_lanes_that_are_added_and_lost_are_used_from_the_next_batch_on(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as staged:
        version, runtime = staged.version(2)
        asked = staged.submit(version, 8)
        await runtime.asked(2)
        runtime.concurrency = 4
        asked += staged.submit(version)
        await runtime.asked(4)
        # One is left; those that are on their way come to their end first, one after another.
        runtime.concurrency = 1
        runtime.gate.set()
        await asyncio.gather(*asked)
        assert runtime.most == 4
        assert runtime.running == 0
        assert len(runtime.batches) == 9


async def test_other_versions_are_not_held_up_by_one_whose_lanes_are_full(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        (full, busy), (other, free), (single, alone) = (staged.version(k) for k in (2, 2, 1))
        free.gate.set()
        alone.gate.set()
        waiting = staged.submit(full, 5)
        await busy.asked(2)
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*staged.submit(other, 5), *staged.submit(single, 5))
            assert await staged.dispatcher.call(lambda: "done") == "done"
        assert not any(one.done() for one in waiting)
        assert (len(free.threads), len(alone.threads), len(busy.threads)) == (5, 5, 2)


async def test_a_runtime_with_one_lane_is_always_evaluated_on_one_thread(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        (several, beside), (single, alone) = staged.version(3), staged.version(1)
        beside.gate.set()
        alone.gate.set()
        for _ in range(10):
            await asyncio.gather(*staged.submit(several, 3), *staged.submit(single, 3))
        # The thread on which models are loaded, too.
        assert set(alone.threads) == {await staged.dispatcher.call(threading.get_ident)}
        assert alone.most == 1


async def test_closing_waits_for_what_is_queued_and_for_what_runs_on_the_pool(
    tmp_path: Path,
) -> None:
    before = set(threading.enumerate())
    async with stage(tmp_path) as staged:
        version, runtime = staged.version(2)
        asked = staged.submit(version, 5)
        await runtime.asked(2)
        closing = asyncio.create_task(staged.dispatcher.close())
        await asyncio.sleep(0.05)
        assert not closing.done()
        runtime.gate.set()
        await closing
        assert runtime.ended == 5
        assert len(await asyncio.gather(*asked)) == 5
    assert not [one for one in set(threading.enumerate()) - before if "forcegate" in one.name]


async def test_closing_with_nothing_to_do_ends_all_threads(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    async with stage(tmp_path) as staged:
        version, runtime = staged.version(2)
        runtime.gate.set()
        await asyncio.gather(*staged.submit(version, 5))
    assert not [one for one in set(threading.enumerate()) - before if "forcegate" in one.name]


async def test_an_error_on_the_pool_reaches_those_whose_batch_it_was_and_nobody_else(
    tmp_path: Path,
) -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise nobody_evaluates()

    async with stage(tmp_path) as staged:
        version, runtime = staged.version(2)
        runtime.fail = fail
        half = Microbatch(PIECE.structures, 0.5, 0.005)
        # Two callers share each batch.
        asked = [staged.dispatcher.submit(version, half, ANN) for _ in range(6)]
        await runtime.asked(2)
        runtime.gate.set()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        failed = [isinstance(one, RuntimeUnavailable) for one in outcomes]
        # Of the first two batches the one whose thread came second.
        assert failed in ([True] * 2 + [False] * 4, [False] * 2 + [True] * 2 + [False] * 2)
        # Its lane is free again.
        await asyncio.gather(*staged.submit(version, 4))
        assert runtime.running == 0


async def test_what_was_given_up_while_lanes_were_full_is_not_computed(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        version, runtime = staged.version(2)
        asked = staged.submit(version, 2)
        await runtime.asked(2)
        given_up, wanted = staged.submit(version, 3), staged.submit(version)
        for one in given_up:
            one.cancel()
        runtime.gate.set()
        await asyncio.gather(*asked, *wanted)
        assert len(runtime.threads) == 3


@pytest.mark.parametrize("lanes", [1, 3])
def test_with_several_lanes_that_many_times_the_work_is_admitted(lanes: int) -> None:
    budget = Budget(10.0, lambda: 0.5, lanes=lambda: lanes)
    admitted = [budget.reserve(ANN, 1.0) for _ in range(10 * lanes)]
    with pytest.raises(TooManyRequests):
        budget.reserve(ANN, 1.0)
    admitted[0].release()
    budget.reserve(ANN, 1.0)


def test_with_several_lanes_the_advised_wait_is_shorter_by_as_much() -> None:
    waits = []
    for lanes in (1, 4):
        budget = Budget(10.0, lambda: 0.5, lanes=lambda lanes=lanes: lanes)
        budget.reserve(ANN, 32.0)
        with pytest.raises(TooManyRequests) as refused:
            budget.reserve(ANN, 12.0)
        assert refused.value.retry_after_s is not None
        waits.append(refused.value.retry_after_s)
    assert waits[1] == pytest.approx(waits[0] / 4)


def test_a_lane_that_is_lost_is_not_given_away() -> None:
    lanes = 4
    budget = Budget(10.0, lambda: 0.5, lanes=lambda: lanes)
    budget.reserve(ANN, 20.0)
    lanes = 1
    with pytest.raises(TooManyRequests) as refused:
        budget.reserve(ANN, 1.0)
    assert refused.value.retry_after_s == pytest.approx(0.85 * 20.0)
    # An equal share of what one lane does.
    budget.reserve(BOB, 4.9)
    with pytest.raises(TooManyRequests):
        budget.reserve(BOB, 0.2)


def test_equal_shares_and_large_requests_are_measured_by_all_lanes_together() -> None:
    budget = Budget(10.0, lambda: 0.5, lanes=lambda: 4)
    budget.reserve(ANN, 39.0)
    # Less than half of what four lanes do, and more than half of what one does.
    budget.reserve(BOB, 10.0)
    budget = Budget(10.0, lambda: 0.5, lanes=lambda: 4)
    budget.reserve(ANN, 22.0)
    budget.reserve(BOB, 2.0)
    # Three seconds on four lanes; one of them would have to find half of its budget free.
    budget.reserve(ANN, 12.0)
