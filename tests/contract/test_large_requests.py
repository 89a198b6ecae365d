"""Of a large request the first graphs are evaluated while the others are built."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.survey import look_at
from forcegate_service.predict import prepare as preparation
from forcegate_service.predict.prepare import Preparation
from forcegate_service.queue.cost import CostModel
from forcegate_service.queue.microbatch import BatchLimit, Microbatch
from forcegate_service.queue.submission import Submission
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client
from support.staged import Gate, post, settled, staged, stretched

pytestmark = pytest.mark.anyio

# Of 1,200 atoms: more than are built at once.
MANY = 400
PATIENCE_S = 60.0


def _waters(water: dict[str, Any]) -> list[dict[str, Any]]:
    return [stretched(water, k % 40) for k in range(MANY)]


async def test_inference_begins_before_the_last_graph_is_built(
    settings: Settings, water: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated = threading.Event()
    built: list[bool] = []

    def look_when_evaluated(*arguments: Any) -> Any:
        # At the first ones at once, at all others only when something was evaluated.
        built.append(not built or evaluated.wait(PATIENCE_S))
        return look_at(*arguments)

    async with staged(settings) as (client, runtime):
        expected = (await post(client, *_waters(water))).json()["results"]
        runtime.before = lambda graph: evaluated.set()
        monkeypatch.setattr(preparation, "look_at", look_when_evaluated)
        response = await post(client, *_waters(water))
    assert len(built) > 1
    assert all(built)
    assert response.json()["results"] == expected


async def test_a_bad_structure_at_the_end_is_refused_as_one_at_the_beginning_is(
    settings: Settings, water: dict[str, Any]
) -> None:
    collapsed = water | {"positions": [[0.0, 0.0, 0.0], [0.01, 0.0, 0.0], [-0.24, 0.93, 0.0]]}
    structures = _waters(water)
    async with gateway_client(settings) as client:
        good = (await post(client, *structures)).json()["results"]
        for at in (0, MANY):
            mixed = [*structures[:at], collapsed, *structures[at:]]
            refusal = await post(client, *mixed)
            assert refusal.status_code == 422
            assert (refusal.json()["code"], refusal.json()["structure"]) == ("atoms_too_close", at)
            results = (await post(client, *mixed, on_error="partial")).json()["results"]
            assert results.pop(at)["problem"]["code"] == "atoms_too_close"
            assert results == good


async def test_a_structure_for_which_others_would_wait_too_long_is_refused_before_it_is_evaluated(
    settings: Settings, water: dict[str, Any]
) -> None:
    async with staged(settings.model_copy(update={"max_structure_s": 1e-9})) as (client, runtime):
        # Several at a time are prepared together, which is no way around.
        for refusal in await asyncio.gather(*(post(client, water) for _ in range(4))):
            problem = refusal.json()
            assert (refusal.status_code, problem["code"]) == (422, "structure_too_large")
            assert problem["structure"] == 0
            assert "predicted to take" in problem["received"]
            assert "1e-09 s" in problem["expected"]
    assert not runtime.batches


def test_of_a_request_only_the_structures_that_take_too_long_are_refused(
    tmp_path: Path,
) -> None:
    # A millisecond an atom, by which the 64 atoms in the middle are predicted to take 64 ms.
    limit = BatchLimit(CostModel(0.0, 1e-3, 0.0), 0.05, 60_000, longest_s=0.06)
    n_atoms = [1, 64, 1]
    positions = [(float(3 * k), 0.0, 0.0) for n in n_atoms for k in range(n)]
    structures = StructureBatch.from_arrays(
        n_atoms=n_atoms, atomic_numbers=[1] * 66, positions=np.array(positions)
    )
    request = PredictRequest(structures, "fake", on_error="partial")
    card = write_fake_model(tmp_path)
    prepared = Preparation(request, card, limit, Settings(), {}).completed()
    assert prepared.index.tolist() == [0, 2]
    assert {b: problem.code for b, problem in prepared.problems.items()} == {
        1: "structure_too_large"
    }
    assert "0.064 s" in str(prepared.problems[1])


async def test_a_structure_whose_evaluation_would_fill_the_memory_is_refused_alone(
    settings: Settings, water: dict[str, Any]
) -> None:
    # Atoms without a neighbour: nothing of it takes long.
    places = [[6.0 * k, 0.0, 0.0] for k in range(4000)]
    sparse = {"atomic_numbers": [8] * len(places), "positions": places}
    async with gateway_client(settings.model_copy(update={"max_structure_mib": 2})) as client:
        both = (await post(client, sparse, water, on_error="partial")).json()["results"]
        assert "energy" in both[1]
        assert both[0]["problem"]["code"] == "structure_too_large"
        assert "MiB of memory" in both[0]["problem"]["received"]
        assert both[0]["problem"]["expected"] == "at most 2 MiB"
        assert "FORCEGATE_MAX_STRUCTURE_MIB" in both[0]["problem"]["action"]
    async with gateway_client(settings.model_copy(update={"max_structure_mib": 64})) as client:
        assert (await post(client, sparse)).status_code == 200


async def test_a_request_that_turns_out_too_large_leaves_nothing_behind(
    settings: Settings, water: dict[str, Any]
) -> None:
    # Water has 6 edges: the first graph is within the limit, the second is beyond it.
    limited = settings.model_copy(update={"max_edges": 6 * (MANY - 1)})
    async with staged(limited) as (client, runtime):
        refusal = await post(client, *_waters(water))
        assert (refusal.status_code, refusal.json()["code"]) == (413, "too_many_pairs")
        await post(client, water)
        assert await _metric(client, "forcegate_admitted_seconds") == 0.0
    assert sum(runtime.batches) <= MANY


async def test_pieces_of_a_request_that_share_a_batch_take_its_time_once(
    settings: Settings, water: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[int] = []
    submit = Submission.submit

    def count(asked: Submission, microbatches: Sequence[Microbatch]) -> None:
        submit(asked, microbatches)
        submitted.extend(len(microbatch.structures.n_atoms) for microbatch in microbatches)

    monkeypatch.setattr(Submission, "submit", count)
    async with staged(settings) as (client, runtime):
        before = await _metric(client, "forcegate_runtime_busy_seconds_total")
        gate = runtime.before = Gate()
        first = asyncio.create_task(post(client, water))
        await gate.entered()
        second = asyncio.create_task(post(client, *_waters(water)))
        while sum(submitted) < 1 + MANY:
            await asyncio.sleep(0.001)
        await settled()
        gate.open()
        timings = [(await answer).json()["timing"] for answer in (first, second)]
        after = await _metric(client, "forcegate_runtime_busy_seconds_total")
    assert len(submitted) > 2
    assert runtime.batches == [1, MANY]
    assert sum(timing["inference_s"] for timing in timings) == pytest.approx(after - before)


async def _metric(client: httpx.AsyncClient, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))
