"""A gateway over the toy model in which a test decides what happens around each evaluation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from forcegate_service.api.app import create_app
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.fake import FakeRuntime, load_fake
from forcegate_service.settings import Settings
from forcegate_service.testing import in_process

__all__ = ["Gate", "StagedRuntime", "post", "settled", "staged", "stretched"]


class Gate:
    """Holds evaluations back, from the moment it is made the ``before`` of a runtime."""

    def __init__(self) -> None:
        self._entered, self._opened = threading.Event(), threading.Event()

    def __call__(self, graph: Graph) -> None:
        """Wait, on the inference thread, until the gate is opened."""
        self._entered.set()
        assert self._opened.wait(30)

    async def entered(self) -> None:
        """An evaluation waits; all that was sent before has been taken in."""
        assert await asyncio.to_thread(self._entered.wait, 30)
        await settled()

    def open(self) -> None:
        """Let this evaluation through, and all that follow."""
        self._opened.set()


async def settled() -> None:
    """Let the event loop come to rest."""
    for _ in range(100):
        await asyncio.sleep(0)


class StagedRuntime(FakeRuntime):
    """Evaluates as the toy does, after and before what a test wants to happen."""

    def __init__(self, folder: Path) -> None:
        super().__init__(load_fake(folder).card)
        self.before: Callable[[Graph], None] = lambda graph: None
        self.after: Callable[[Graph, ModelOutput], None] = lambda graph, output: None
        self.threads: set[int] = set()

    def evaluate(self, graph: Graph) -> ModelOutput:
        self.threads.add(threading.get_ident())
        self.before(graph)
        output = super().evaluate(graph)
        self.after(graph, output)
        return output


@asynccontextmanager
async def staged(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, StagedRuntime]]:
    runtimes: list[StagedRuntime] = []

    def load(folder: Path) -> StagedRuntime:
        runtimes.append(StagedRuntime(folder))
        return runtimes[-1]

    async with in_process(create_app(settings, load_runtime=load)) as (client, gateway):
        assert gateway.loading is not None
        await gateway.loading
        # Budgets of microseconds would notice every hiccup of a busy machine.
        gateway.budget.lost_s = lambda: 0.0
        runtimes[0].batches.clear()
        yield client, runtimes[0]


def stretched(water: dict[str, Any], k: int) -> dict[str, Any]:
    return water | {"positions": [[0, 0, 0], [0.9 + 0.01 * k, 0, 0], [-0.24, 0.93, 0]]}


async def post(client: httpx.AsyncClient, *structures: dict[str, Any], **options: Any) -> Any:
    body = {"model": "fake", "structures": structures} | options
    return await client.post("/v1/predict", json=body)
