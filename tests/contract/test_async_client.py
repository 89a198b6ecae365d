"""``AsyncClient`` against a real gateway in process: answers, errors, retries, many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from forcegate_client import AsyncClient
from forcegate_client.errors import (
    InvalidStructure,
    ModelNotFound,
    PayloadTooLarge,
    ServerUnreachable,
    TooManyRequests,
)
from forcegate_client.http.connection import Timeouts
from forcegate_client.retry import RetryPolicy
from forcegate_client.testing import FakeClock, FakeServer, html_page, problem
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client, running_gateway
from support.staged import Gate, StagedRuntime, staged

pytestmark = pytest.mark.anyio

WATER = molecule("H2O")


class Naps(FakeClock):
    """A clock whose sleep an event loop can wait for."""

    async def nap(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def of(settings: Settings) -> AsyncIterator[AsyncClient]:
    async with (
        gateway_client(settings) as inner,
        AsyncClient("http://localhost", transport=inner._transport) as client,  # type: ignore[arg-type]
    ):
        yield client


def scripted(server: FakeServer, clock: Naps, **options: object) -> AsyncClient:
    return AsyncClient(
        "http://localhost",
        transport=server.transport,
        sleep=clock.nap,
        clock=clock,
        jitter=lambda: 0.5,
        **options,  # type: ignore[arg-type]
    )


async def test_predictions_models_and_readiness_of_a_real_gateway(settings: Settings) -> None:
    async with of(settings) as client:
        assert await client.ready()
        names = [entry["name"] for entry in await client.models()]
        card = await client.model("fake")
        response = await client.predict([WATER, molecule("CH4")], "fake")
    assert names == ["fake"]
    assert card["name"] == "fake"
    assert response.predictions.energy is not None
    assert response.predictions.forces is not None
    assert response.predictions.n_atoms.tolist() == [3, 5]
    assert np.isfinite(response.predictions.forces).all()


async def test_errors_are_the_servers_classes(settings: Settings) -> None:
    async with of(settings) as client:
        with pytest.raises(ModelNotFound):
            await client.predict(WATER, "unheard-of")
        with pytest.raises(ModelNotFound):
            await client.model("unheard-of")
        with pytest.raises(InvalidStructure) as caught:
            await client.predict([WATER, Atoms("H2", positions=np.zeros((2, 3)))], "fake")
        assert caught.value.structure == 1
        frames = [WATER, Atoms("H2", positions=np.zeros((2, 3)))]
        partial = await client.predict(frames, "fake", on_error="partial")
    assert sorted(partial.predictions.problems) == [1]


async def test_many_predictions_at_once_each_get_their_own_answer(settings: Settings) -> None:
    lengths = np.linspace(0.7, 1.5, 200)
    frames = [Atoms("H2", positions=[[0, 0, 0], [0, 0, length]]) for length in lengths]
    async with of(settings) as client:
        together = await asyncio.gather(*(client.predict(frame, "fake") for frame in frames))
        whole = await client.predict(frames, "fake")
    energies = [answer.predictions.energy for answer in together]
    assert whole.predictions.energy is not None
    assert np.allclose(np.concatenate(energies), whole.predictions.energy, rtol=0, atol=1e-9)


async def test_a_batch_beyond_the_gateways_limit_is_halved_until_it_fits(
    settings: Settings,
) -> None:
    limited = settings.model_copy(update={"max_atoms": 10})
    frames = [molecule(name) for name in ("H2O", "CH4", "NH3", "H2O", "CO2", "H2")]
    async with of(settings) as client:
        whole = await client.predict(frames, "fake")
    async with of(limited) as client:
        parts = await client.predict(frames, "fake")
        with pytest.raises(PayloadTooLarge) as caught:
            await client.predict([WATER, WATER, molecule("C6H6")], "fake")
    assert caught.value.structure == 2
    assert np.array_equal(parts.predictions.index, whole.predictions.index)
    for name in ("energy", "forces"):
        received, expected = getattr(parts.predictions, name), getattr(whole.predictions, name)
        assert np.allclose(received, expected, rtol=0, atol=1e-9)


async def test_a_full_gateway_is_asked_again_after_the_wait_that_it_advises(
    settings: Settings,
) -> None:
    small = settings.model_copy(update={"queue_budget_s": 1e-6})
    async with staged(small) as (inner, runtime):
        gate = runtime.before = Gate()
        naps: list[float] = []

        async def nap(seconds: float) -> None:
            naps.append(seconds)
            gate.open()
            await first

        client = AsyncClient("http://localhost", transport=inner._transport, sleep=nap)  # type: ignore[arg-type]
        first = asyncio.create_task(client.predict(WATER, "fake"))
        await gate.entered()
        second = await client.predict(WATER, "fake")
    assert len(naps) == 1
    assert naps[0] > 0
    assert second.predictions.energy is not None


async def test_a_cancelled_prediction_ends_at_once_and_the_client_goes_on(
    settings: Settings,
) -> None:
    gate = Gate()
    runtimes: list[StagedRuntime] = []

    def load(folder: Path) -> StagedRuntime:
        runtimes.append(StagedRuntime(folder))
        return runtimes[-1]

    # On a port: in process the gateway would be a part of the task that is cancelled.
    with running_gateway(settings, load) as url:
        runtimes[0].before = gate
        async with AsyncClient(url, connections=1) as client:
            task = asyncio.create_task(client.predict(WATER, "fake"))
            await gate.entered()
            task.cancel()
            # The evaluation is still held back.
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.open()
            # The only place is free again.
            assert (await client.predict(WATER, "fake")).predictions.energy is not None


async def test_an_answer_that_does_not_come_is_a_silent_server(settings: Settings) -> None:
    async def never(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    client = AsyncClient(
        "http://localhost",
        timeouts=Timeouts(total_s=0.01),
        retry=RetryPolicy(give_up_after_s=0.0, first_answer_within_s=0.0),
        transport=httpx.MockTransport(never),
    )
    with pytest.raises(ServerUnreachable, match=r"no complete answer in 0\.01 s"):
        await client.predict(WATER, "fake")


async def test_the_wait_that_a_busy_server_asks_for_is_kept_and_never_shortened() -> None:
    busy = problem(TooManyRequests("work queued", retry_after_s=7.25))
    server, clock = FakeServer([busy, html_page(503, {"Retry-After": "3"})]), Naps()
    await scripted(server, clock).predict(WATER)
    assert 7.25 <= clock.naps[0] <= 7.25 * 1.1
    assert 3.0 <= clock.naps[1] <= 3.3


async def test_the_last_error_is_raised_when_time_is_up() -> None:
    server, clock = FakeServer(), Naps()
    client = scripted(server, clock, retry=RetryPolicy(give_up_after_s=20.0))
    await client.predict(WATER)
    server.script = [problem(TooManyRequests("work queued", retry_after_s=8.0)) for _ in range(9)]
    with pytest.raises(TooManyRequests, match="work queued"):
        await client.predict(WATER)
    assert clock.now <= 20.0
    server.script = [httpx.ConnectError("refused")]
    assert not await client.ready()


async def test_no_more_requests_are_under_way_than_there_are_connections() -> None:
    server = FakeServer()
    under_way, most = 0, 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return server.answer(request)

    client = AsyncClient("http://g", transport=httpx.MockTransport(answer), connections=3)
    await asyncio.gather(*(client.predict(WATER) for _ in range(20)))
    assert most == 3


def test_one_client_serves_one_event_loop_after_another() -> None:
    client = AsyncClient("http://localhost", transport=FakeServer().transport)
    for _ in range(2):
        response = asyncio.run(client.predict(WATER))
        assert response.version == "1"


async def test_the_key_shows_nowhere() -> None:
    server = FakeServer()
    client = AsyncClient("https://me:hunter2@gateway", "fg_secret", transport=server.transport)
    await client.predict(WATER)
    assert "secret" not in repr(client) + repr(client.connection)
    assert "hunter2" not in repr(client)
