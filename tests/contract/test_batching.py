"""Requests share batches, keep their answers, and do not suffer from each other."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from forcegate_service.contract.errors import RuntimeFault
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.settings import Settings
from support.staged import Gate, post, settled, staged, stretched

pytestmark = pytest.mark.anyio

SULFUR = 16


async def test_what_waits_while_a_batch_runs_is_one_batch(
    settings: Settings, water: dict[str, Any]
) -> None:
    async with staged(settings) as (client, runtime):
        alone = [(await post(client, stretched(water, k))).json() for k in range(20)]
        runtime.batches.clear()
        gate = runtime.before = Gate()
        first = asyncio.create_task(post(client, stretched(water, 0)))
        await gate.entered()
        others = [asyncio.create_task(post(client, stretched(water, k))) for k in range(1, 20)]
        await settled()
        gate.open()
        together = [response.json() for response in await asyncio.gather(first, *others)]
    assert runtime.batches == [1, 19]
    for one, other in zip(alone, together, strict=True):
        assert one["results"] == other["results"]
    assert len({answer["results"][0]["energy"] for answer in together}) == 20


async def test_a_batch_never_exceeds_its_limit_unless_by_one_structure(
    settings: Settings, water: dict[str, Any]
) -> None:
    # Water has 6 edges and 3 atoms.
    async with staged(settings.model_copy(update={"batch_edges": 30})) as (client, runtime):
        await post(client, *[water] * 10)
        assert runtime.batches == [3, 3, 3, 1]
    async with staged(settings.model_copy(update={"batch_edges": 1})) as (client, runtime):
        await post(client, *[water] * 4)
        assert runtime.batches == [1, 1, 1, 1]


async def test_inference_always_runs_on_the_same_thread(
    settings: Settings, water: dict[str, Any]
) -> None:
    async with staged(settings) as (client, runtime):
        await asyncio.gather(*(post(client, stretched(water, k)) for k in range(10)))
    assert len(runtime.threads) == 1
    assert threading.get_ident() not in runtime.threads


def fail_on_sulfur(graph: Graph) -> None:
    if (graph.atomic_numbers == SULFUR).any():
        raise RuntimeFault("the model cannot stand sulfur")


async def test_only_the_structure_on_which_the_model_fails_is_refused(
    settings: Settings, water: dict[str, Any]
) -> None:
    sulfide = water | {"atomic_numbers": [SULFUR, 1, 1]}
    structures = [stretched(water, k) for k in range(9)]
    async with staged(settings) as (client, runtime):
        expected = (await post(client, *structures)).json()["results"]
        runtime.before = fail_on_sulfur
        mixed = [*structures[:4], sulfide, *structures[4:]]
        results = (await post(client, *mixed, on_error="partial")).json()["results"]
        refusal = await post(client, *mixed)
        assert (await post(client, water)).status_code == 200
    problem = results.pop(4)["problem"]
    assert (problem["code"], problem["structure"]) == ("prediction_failed", 4)
    assert results == expected
    assert refusal.status_code == 422
    assert refusal.json()["structure"] == 4


async def test_a_failing_structure_does_not_fail_the_request_beside_it(
    settings: Settings, water: dict[str, Any]
) -> None:
    sulfide = water | {"atomic_numbers": [SULFUR, 1, 1]}
    async with staged(settings) as (client, runtime):
        runtime.before = fail_on_sulfur
        responses = await asyncio.gather(
            post(client, water), post(client, sulfide), post(client, water)
        )
    assert [response.status_code for response in responses] == [200, 422, 200]


async def test_a_runtime_that_fails_on_everything_is_unavailable(
    settings: Settings, water: dict[str, Any]
) -> None:
    def fail(graph: Graph) -> None:
        raise RuntimeFault("out of memory")

    async with staged(settings) as (client, runtime):
        runtime.before = fail
        for on_error in ("raise", "partial"):
            response = await post(client, water, water, on_error=on_error)
            assert response.status_code == 503
            assert response.json()["code"] == "runtime_unavailable"
            assert "structure" not in response.json()
            assert int(response.headers["retry-after"]) >= 1
        runtime.before = lambda graph: None
        assert (await post(client, water)).status_code == 200


# Charges have a test of their own: the toy of these has none.
@pytest.mark.parametrize("column", [n for n in ModelOutput._fields if n != "charges"])
async def test_an_answer_that_is_not_finite_is_refused_for_that_structure_alone(
    column: str, settings: Settings, water: dict[str, Any]
) -> None:
    def spoil(graph: Graph, output: ModelOutput) -> None:
        values = getattr(output, column)
        per_atom = len(values) == len(graph.atomic_numbers)
        which = graph.atomic_numbers == SULFUR
        owners = (
            which
            if per_atom
            else np.isin(np.arange(len(graph.n_atoms)), graph.structure_index[which])
        )
        values[owners] = np.nan

    sulfide = water | {"atomic_numbers": [SULFUR, 1, 1]}
    async with staged(settings) as (client, runtime):
        expected = (await post(client, water)).json()["results"][0]
        runtime.after = spoil
        response = await post(client, water, sulfide, water, on_error="partial")
        refusal = await post(client, water, sulfide)
        metrics = (await client.get("/metrics")).text
    first, second, third = response.json()["results"]
    assert first == third == expected
    assert second["problem"]["code"] == "prediction_not_finite"
    assert refusal.status_code == 422
    assert refusal.json()["structure"] == 1
    assert 'forcegate_not_finite_total{model="fake"} 2.0' in metrics


async def test_the_queue_is_finished_before_the_gateway_closes(
    settings: Settings, water: dict[str, Any]
) -> None:
    async with staged(settings) as (client, _runtime):
        tasks = [asyncio.create_task(post(client, stretched(water, k))) for k in range(5)]
        await settled()
    responses = await asyncio.gather(*tasks)
    assert [response.status_code for response in responses] == [200] * 5
