"""Runtimes that the event loop asks itself, without a thread that waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from forcegate_client.errors import InvalidStructure, RuntimeUnavailable
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.errors import RuntimeFault, nobody_evaluates
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.runtime import Done, ModelOutput
from forcegate_service.contract.structures import Structures
from forcegate_service.queue.batch import Answer
from forcegate_service.queue.cost import CostModel
from forcegate_service.queue.dispatcher import Dispatcher
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.queue.microbatch import BatchLimit, Microbatch
from forcegate_service.queue.version import ServedVersion
from forcegate_service.runtimes.fake import FakeRuntime, load_fake, write_fake_model
from forcegate_service.watch.metrics.metrics import Metrics

pytestmark = pytest.mark.anyio

ANN = Tenant("ann", "1")
# An element at which a whole batch fails.
IODINE = 53


def piece_of(bond: float, element: int = 6) -> Microbatch:
    """Two atoms, so that the answer tells which question it belongs to."""
    batch = StructureBatch.from_arrays([2], [element, element], [[0.0, 0, 0], [bond, 0, 0]])
    return Microbatch(build_graph(batch, 5.0), 0.1, 0.001)


class _Started(FakeRuntime):
    """Answers in a later turn of the loop, once ``gate`` is open; ``asked`` and ``waited`` are the
    sizes of the batches that it was asked for by the loop and by a thread.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(load_fake(folder).card)
        self.asked: list[int] = []
        self.waited: list[int] = []
        self.free = True
        self.fails_with: Exception | None = None
        self.gate = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def evaluate(self, structures: Structures) -> ModelOutput:
        self.waited.append(len(structures.n_atoms))
        if (structures.atomic_numbers == IODINE).any():
            raise RuntimeFault("iodine")
        return super().evaluate(structures)

    def start(self, structures: Structures, done: Done) -> bool:
        if not self.free:
            return False
        self.asked.append(len(structures.n_atoms))
        task = asyncio.get_running_loop().create_task(self._answer(structures, done))
        self._tasks.add(task)
        return True

    async def _answer(self, structures: Structures, done: Done) -> None:
        await self.gate.wait()
        if self.fails_with is not None:
            done(self.fails_with, 0.0)
        elif (structures.atomic_numbers == IODINE).any():
            done(RuntimeFault("iodine"), 0.0)
        else:
            done(FakeRuntime(self.card).evaluate(structures), 0.001)


class _Stage:
    def __init__(self, folder: Path) -> None:
        card = write_fake_model(folder)
        self.dispatcher = Dispatcher(Metrics(CollectorRegistry()))
        self.runtime = _Started(folder / card.name / card.version)
        limit = BatchLimit(CostModel(0.0, 1e-5, 1e-6), 0.05, 10**6)
        self.version = ServedVersion(self.runtime, limit, card, np.zeros(119))

    def submit(self, microbatch: Microbatch) -> asyncio.Future[Answer]:
        return self.dispatcher.submit(self.version, microbatch, ANN)

    def assert_right(self, answer: Answer, microbatch: Microbatch) -> None:
        assert not answer.faults
        expected = FakeRuntime(self.runtime.card).evaluate(microbatch.structures)
        np.testing.assert_array_equal(answer.output.forces, expected.forces)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[_Stage]:
    staged = _Stage(folder)
    try:
        async with asyncio.timeout(60):
            yield staged
    finally:
        staged.runtime.gate.set()
        await staged.dispatcher.close()


async def test_no_thread_waits_and_what_comes_meanwhile_is_the_next_batch(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        microbatches = [piece_of(1.2 + 0.1 * k) for k in range(5)]
        first = staged.submit(microbatches[0])
        await asyncio.sleep(0.01)
        others = [staged.submit(microbatch) for microbatch in microbatches[1:]]
        await asyncio.sleep(0.01)
        staged.runtime.gate.set()
        for answer, microbatch in zip(
            await asyncio.gather(first, *others), microbatches, strict=True
        ):
            staged.assert_right(answer, microbatch)
        assert staged.runtime.asked == [1, 4]
        assert staged.runtime.waited == []


async def test_a_runtime_that_cannot_start_now_is_waited_for_by_a_thread(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        staged.runtime.free = False
        microbatch = piece_of(1.3)
        staged.assert_right(await staged.submit(microbatch), microbatch)
        assert staged.runtime.waited == [1]


async def test_a_batch_that_fails_is_halved_until_only_the_offender_fails(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        staged.runtime.gate.set()
        microbatches = [piece_of(1.3, IODINE if k == 2 else 6) for k in range(4)]
        answers = await asyncio.gather(*map(staged.submit, microbatches))
        for k, (answer, microbatch) in enumerate(zip(answers, microbatches, strict=True)):
            if k == 2:
                assert isinstance(answer.faults[0], InvalidStructure)
            else:
                staged.assert_right(answer, microbatch)
        # The whole of it is not tried a second time: a crash costs a start.
        assert staged.runtime.asked == [4]
        assert 4 not in staged.runtime.waited


async def test_when_nobody_is_there_everybody_hears_it_and_nobody_is_blamed(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        staged.runtime.gate.set()
        staged.runtime.fails_with = nobody_evaluates()
        asked = [staged.submit(piece_of(1.3)) for _ in range(3)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(one, RuntimeUnavailable) for one in outcomes)
        staged.runtime.fails_with = None
        microbatch = piece_of(1.4)
        staged.assert_right(await staged.submit(microbatch), microbatch)


async def test_models_are_loaded_between_two_batches(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        order: list[str] = []
        first = staged.submit(piece_of(1.3))
        first.add_done_callback(lambda _: order.append("batch"))
        await asyncio.sleep(0.01)
        loading = staged.dispatcher.call(lambda: order.append("call"))
        await asyncio.sleep(0.05)
        assert not order
        staged.runtime.gate.set()
        await asyncio.gather(first, loading)
        assert sorted(order) == ["batch", "call"]


async def test_what_is_begun_early_is_computed_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        staged.runtime.gate.set()
        microbatch = piece_of(1.3)
        staged.dispatcher.begin_early(staged.version, microbatch.structures)
        staged.assert_right(await staged.submit(microbatch), microbatch)
        assert staged.runtime.asked == [1]


async def test_what_is_begun_early_and_refused_answers_nobody_elses_question(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as staged:
        refused, next_one = piece_of(1.3), piece_of(1.5)
        staged.dispatcher.begin_early(staged.version, refused.structures)
        asked = staged.submit(next_one)
        staged.runtime.gate.set()
        staged.assert_right(await asked, next_one)
        # And one that fails is nobody's fault.
        staged.dispatcher.begin_early(staged.version, piece_of(1.3, IODINE).structures)
        staged.assert_right(await staged.submit(next_one), next_one)
        assert staged.runtime.waited == []


async def test_nothing_is_begun_early_while_others_are_served(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        microbatches = [piece_of(1.3), piece_of(1.5)]
        first = staged.submit(microbatches[0])
        staged.dispatcher.begin_early(staged.version, microbatches[1].structures)
        second = staged.submit(microbatches[1])
        staged.runtime.gate.set()
        for answer, microbatch in zip(
            await asyncio.gather(first, second), microbatches, strict=True
        ):
            staged.assert_right(answer, microbatch)
        assert staged.runtime.asked == [2]


async def test_closing_waits_for_what_the_loop_has_asked_for(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    async with stage(tmp_path) as staged:
        asked = staged.submit(piece_of(1.3))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(staged.dispatcher.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        staged.runtime.gate.set()
        await closing
        assert asked.done()
    assert not [one for one in set(threading.enumerate()) - before if "forcegate" in one.name]
