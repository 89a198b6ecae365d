"""The order in which the inference thread works: versions and calls take turns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from prometheus_client import CollectorRegistry

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.queue.cost import CostModel
from forcegate_service.queue.dispatcher import Dispatcher
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.queue.microbatch import BatchLimit, Microbatch
from forcegate_service.queue.version import ServedVersion
from forcegate_service.runtimes.fake import FakeRuntime, load_fake, write_fake_model
from forcegate_service.watch.metrics.metrics import Metrics

pytestmark = pytest.mark.anyio

ANN = Tenant("ann", "1")
# Fills a batch.
PIECE = Microbatch(build_graph(StructureBatch.from_atoms([molecule("H2O")]), 5.0), 1.0, 0.01)


class _Told(FakeRuntime):
    """Writes down its name at every evaluation, the first of which waits for the gate."""

    def __init__(self, folder: Path, name: str, order: list[str], gate: threading.Event) -> None:
        super().__init__(load_fake(folder).card)
        self._name, self._order, self._gate = name, order, gate

    def evaluate(self, graph: Graph) -> ModelOutput:
        self._order.append(self._name)
        assert self._gate.wait(60)
        return super().evaluate(graph)


class _Stage:
    """Two versions, one dispatcher, and the order in which things happen on its thread."""

    def __init__(self, folder: Path) -> None:
        card = write_fake_model(folder)
        self.order: list[str] = []
        self.gate = threading.Event()
        self.dispatcher = Dispatcher(Metrics(CollectorRegistry()))
        limit = BatchLimit(CostModel(0.0, 1e-5, 1e-6), 0.05, 10**6)
        self.versions = {
            name: ServedVersion(
                _Told(folder / card.name / card.version, name, self.order, self.gate),
                limit,
                card,
                np.zeros(119),
            )
            for name in ("a", "b")
        }

    def submit(self, name: str) -> asyncio.Future[object]:
        return self.dispatcher.submit(self.versions[name], PIECE, ANN)  # type: ignore[return-value]

    async def busy(self) -> asyncio.Future[object]:
        """The thread is held in an evaluation of version a, so that what follows queues up."""
        first = self.submit("a")
        async with asyncio.timeout(60):
            while not self.order:
                await asyncio.sleep(0.001)
        return first


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[_Stage]:
    staged = _Stage(folder)
    try:
        yield staged
    finally:
        staged.gate.set()
        await staged.dispatcher.close()


async def test_versions_take_turns_however_much_one_of_them_has_queued(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        asked = [await staged.busy()]
        asked += [staged.submit("a") for _ in range(6)]
        asked += [staged.submit("b") for _ in range(3)]
        staged.gate.set()
        await asyncio.gather(*asked)
    assert "".join(staged.order) == "aabababaaa"


async def test_loading_runs_between_batches_one_call_at_a_time(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        asked = [await staged.busy()]
        asked += [staged.submit("a") for _ in range(3)]
        calls = [staged.dispatcher.call(lambda: staged.order.append("call")) for _ in range(3)]
        staged.gate.set()
        await asyncio.gather(*asked, *calls)
    assert staged.order == ["a", "call", "a", "call", "a", "call", "a"]


async def test_what_was_given_up_is_not_computed(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        first = await staged.busy()
        given_up, wanted = staged.submit("b"), staged.submit("a")
        given_up.cancel()
        staged.gate.set()
        await asyncio.gather(first, wanted)
    assert staged.order == ["a", "a"]


async def test_a_call_that_fails_tells_its_caller_and_the_thread_lives(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("no such model")

    async with stage(tmp_path) as staged:
        staged.gate.set()
        with pytest.raises(OSError, match="no such model"):
            await staged.dispatcher.call(fail)
        await staged.submit("a")
    assert staged.order == ["a"]
