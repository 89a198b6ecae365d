"""What is admitted, what is refused, and what is given up: seen from outside."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from forcegate_service.settings import Settings
from support.staged import Gate, post, settled, staged, stretched

pytestmark = pytest.mark.anyio


def _small_budget(settings: Settings) -> Settings:
    """Room for no more than a request or two of the toy model."""
    return settings.model_copy(update={"queue_budget_s": 1e-6})


async def test_beyond_the_budget_a_caller_is_told_when_to_come_back(
    settings: Settings, water: dict[str, Any]
) -> None:
    async with staged(_small_budget(settings)) as (client, runtime):
        gate = runtime.before = Gate()
        first = asyncio.create_task(post(client, water))
        await gate.entered()
        refused = await post(client, water)
        gate.open()
        assert (await first).status_code == 200
        again = await post(client, water)
        metrics = (await client.get("/metrics")).text
    assert refused.status_code == 429
    problem = refused.json()
    assert problem["code"] == "too_many_requests"
    assert problem["retry_after_s"] > 0
    assert int(refused.headers["retry-after"]) >= problem["retry_after_s"]
    assert again.status_code == 200
    assert "forcegate_admitted_seconds 0.0" in metrics


async def test_a_light_caller_gets_in_while_another_has_spent_the_budget(
    settings: Settings, water: dict[str, Any]
) -> None:
    # The toy is fast: so much of it fills so small a budget on any machine.
    many = [water] * 9000
    async with staged(settings.model_copy(update={"queue_budget_s": 0.002})) as (client, runtime):
        gate = runtime.before = Gate()
        campaign = [asyncio.create_task(post(client, *many)) for _ in range(2)]
        await gate.entered()
        other = httpx.ASGITransport(client._transport.app, client=("127.0.0.1", 999))  # type: ignore[attr-defined]
        async with httpx.AsyncClient(transport=other, base_url="http://localhost") as light:
            step = asyncio.create_task(post(light, water))
            await settled()
            # The budget is spent: who spent it is refused more.
            assert (await post(client, *many)).status_code == 429
            gate.open()
            assert (await step).status_code == 200
        assert 200 in [answer.status_code for answer in await asyncio.gather(*campaign)]


async def test_a_deadline_that_passes_takes_the_work_out_of_the_queue(
    settings: Settings, water: dict[str, Any]
) -> None:
    async with staged(settings) as (client, runtime):
        gate = runtime.before = Gate()
        first = asyncio.create_task(post(client, stretched(water, 1)))
        await gate.entered()
        body = {"model": "fake", "structures": [water] * 7}
        late = await client.post("/v1/predict", json=body, headers={"X-Request-Timeout": "0.05"})
        gate.open()
        assert (await first).status_code == 200
        assert (await post(client, stretched(water, 2))).status_code == 200
        metrics = (await client.get("/metrics")).text
    assert late.status_code == 504
    assert late.json()["code"] == "deadline_exceeded"
    assert 7 not in runtime.batches
    assert "forcegate_admitted_seconds 0.0" in metrics
    assert 'forcegate_cancelled_total{reason="deadline"} 1.0' in metrics


@pytest.mark.parametrize("given", ["", "soon", "-1", "0", "nan", "inf"])
async def test_a_deadline_that_is_no_time_is_refused(
    given: str, settings: Settings, water: dict[str, Any]
) -> None:
    async with staged(settings) as (client, _runtime):
        answer = await client.post(
            "/v1/predict",
            json={"model": "fake", "structures": [water]},
            headers={"X-Request-Timeout": given},
        )
    assert answer.status_code == 422
    assert answer.json()["code"] == "request_timeout_invalid"


async def test_a_caller_that_goes_away_takes_its_work_out_of_the_queue(
    settings: Settings, water: dict[str, Any]
) -> None:
    async with staged(settings) as (client, runtime):
        gate = runtime.before = Gate()
        first = asyncio.create_task(post(client, stretched(water, 1)))
        await gate.entered()
        sent = await _hang_up(client, {"model": "fake", "structures": [water] * 7})
        gate.open()
        assert (await first).status_code == 200
        assert (await post(client, stretched(water, 2))).status_code == 200
        metrics = (await client.get("/metrics")).text
    assert sent in ([], [499])
    assert 7 not in runtime.batches
    assert "forcegate_admitted_seconds 0.0" in metrics
    assert 'forcegate_cancelled_total{reason="disconnect"} 1.0' in metrics


async def _hang_up(client: httpx.AsyncClient, body: dict[str, Any]) -> list[int]:
    """Send a request and go away before its answer; the status codes that were sent after that."""
    request = client.build_request("POST", "/v1/predict", json=body)
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/predict",
        "raw_path": b"/v1/predict",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 777),
        "http_version": "1.1",
        "scheme": "http",
        "server": ("gateway", 80),
    }
    messages = [{"type": "http.request", "body": request.content}, {"type": "http.disconnect"}]
    sent: list[int] = []

    async def receive() -> dict[str, Any]:
        if len(messages) == 1:
            await settled()
        return messages.pop(0) if len(messages) > 1 else messages[0]

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    await client._transport.app(scope, receive, send)  # type: ignore[attr-defined]
    return sent


async def test_bodies_of_all_callers_together_are_bounded(
    settings: Settings, water: dict[str, Any]
) -> None:
    async with staged(settings.model_copy(update={"max_buffered_bytes": 2000})) as (
        client,
        runtime,
    ):
        gate = runtime.before = Gate()
        first = asyncio.create_task(post(client, *[water] * 20))
        await gate.entered()
        refused = await post(client, *[water] * 20)
        gate.open()
        assert (await first).status_code == 200
        again = await post(client, *[water] * 20)
    assert refused.status_code == 429
    assert refused.json()["retry_after_s"] > 0
    assert "bytes" in refused.json()["received"]
    assert again.status_code == 200
