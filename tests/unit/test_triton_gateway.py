"""A gateway before Triton servers that come, go, hang and fail."""

from __future__ import annotations

import asyncio
import gc
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

import forcegate_service.predict.gateway as gateway_module
from forcegate_client.structures import StructureBatch
from forcegate_service.api.access.keyfile import create_key
from forcegate_service.api.app import create_app
from forcegate_service.contract.graph import build_graph
from forcegate_service.runtimes.fake import load_fake, write_fake_model
from forcegate_service.runtimes.triton import link
from forcegate_service.settings import Settings
from forcegate_service.testing import in_process
from support.fake_triton import WAIT_S, FakeTriton, fake_triton, free_port

pytestmark = pytest.mark.anyio

CARBON, FLUORINE = 6, 9
# eV and eV/Å, of numbers in JSON.
EXACT = 1e-12


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_PAUSE_S", 0.05)
    monkeypatch.setattr(gateway_module, "_LOOK_AGAIN_S", 0.1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_fake_model(tmp_path / "models")
    return tmp_path / "models"


def settings(repository: Path, triton: FakeTriton, **given: Any) -> Settings:
    return Settings(
        model_repository=repository,
        runtime="triton",
        triton_url=triton.address,
        # Predicted seconds on a busy machine are no reason to refuse anything here.
        queue_budget_s=1e6,
        **({"triton_timeout_s": WAIT_S} | given),
    )


def pair(element: int, distance: float = 1.3) -> dict[str, Any]:
    """Carbon and another atom."""
    return {
        "atomic_numbers": [CARBON, element],
        "positions": [[0.0, 0.0, 0.0], [0.0, 0.0, distance]],
    }


async def post(client: httpx.AsyncClient, *structures: dict[str, Any], **options: Any) -> Any:
    body = {"model": "fake", "structures": structures} | options
    return await client.post("/v1/predict", json=body)


async def wait_until(condition: Callable[[], Any]) -> None:
    """Wait for ``condition``, which comes true in a moment or never."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


async def wait_for(client: httpx.AsyncClient, status: int) -> None:
    """Wait until ``/health/ready`` answers ``status``."""
    async with asyncio.timeout(WAIT_S):
        while (await client.get("/health/ready")).status_code != status:
            await asyncio.sleep(0.01)


async def up(client: httpx.AsyncClient) -> float:
    """The metric ``forcegate_runtime_up``."""
    text = (await client.get("/metrics")).text
    families = text_string_to_metric_families(text)
    (family,) = (one for one in families if one.name == "forcegate_runtime_up")
    return family.samples[0].value


def assert_right(result: dict[str, Any], structure: dict[str, Any], repository: Path) -> None:
    batch = StructureBatch.from_arrays(
        n_atoms=[len(structure["atomic_numbers"])],
        atomic_numbers=structure["atomic_numbers"],
        positions=structure["positions"],
    )
    wanted = load_fake(repository / "fake" / "1").evaluate(build_graph(batch, 5.0))
    assert result["energy"] == pytest.approx(float(wanted.energy[0]), abs=EXACT)
    assert result["forces"] == pytest.approx(wanted.forces, abs=EXACT)


async def test_only_the_structure_on_which_the_model_fails_has_a_problem(repository: Path) -> None:
    structures = [pair(element) for element in (1, 7, FLUORINE, 8, 17)]
    with fake_triton(repository, failing={FLUORINE}) as triton:
        async with in_process(create_app(settings(repository, triton))) as (client, gateway):
            await gateway.loading
            answer = await post(client, *structures, on_error="partial")
            assert answer.status_code == 200, answer.text
            *_, alone = [await post(client, structure) for structure in structures[:3]]
        results = answer.json()["results"]
        failed = results.pop(2).get("problem")
        assert failed["code"] == "prediction_failed"
        for result, structure in zip(results, structures[:2] + structures[3:], strict=True):
            assert_right(result, structure, repository)
        assert (alone.status_code, alone.json()["code"]) == (422, "prediction_failed")


async def test_a_gateway_may_be_there_before_any_server_is(repository: Path) -> None:
    triton = FakeTriton(repository, port=free_port())
    with ExitStack() as stack:
        stack.callback(triton.stop)
        async with in_process(create_app(settings(repository, triton))) as (client, _):
            for _ in range(20):
                assert (await client.get("/health/live")).status_code == 200
                not_ready = await client.get("/health/ready")
                assert (not_ready.status_code, not_ready.json()["code"]) == (503, "not_ready")
                assert int(not_ready.headers["Retry-After"]) > 0
                assert await up(client) == 0.0
                await asyncio.sleep(0.01)
            assert (await post(client, pair(8))).status_code == 503
            triton.start()
            await wait_for(client, 200)
            assert await up(client) == 1.0
            answer = await post(client, pair(8))
            assert answer.status_code == 200, answer.text
            assert_right(answer.json()["results"][0], pair(8), repository)


async def test_a_gateway_waits_for_a_server_that_goes_away_while_models_are_loaded(
    repository: Path,
) -> None:
    with fake_triton(repository, holding={8}) as triton:
        async with in_process(create_app(settings(repository, triton))) as (client, gateway):
            await wait_until(lambda: triton.asked)
            triton.stop()
            await wait_until(lambda: not gateway._runtimes.available())
            assert (await client.get("/health/ready")).status_code == 503
            triton.holding.clear()
            triton.start()
            await wait_for(client, 200)
            assert (await post(client, pair(8))).status_code == 200


async def test_while_the_server_is_away_requests_are_told_when_to_come_again(
    repository: Path,
) -> None:
    with fake_triton(repository) as triton:
        async with in_process(create_app(settings(repository, triton))) as (client, gateway):
            await gateway.loading
            triton.stop()
            # Before and after the gateway has noticed.
            first = await post(client, pair(8))
            await wait_for(client, 503)
            second = await post(client, pair(8), on_error="partial")
            for refused in (first, second):
                assert refused.status_code == 503
                assert refused.json()["code"] == "runtime_unavailable"
                assert refused.json()["retry_after_s"] > 0
                assert int(refused.headers["Retry-After"]) >= 1
            assert (await client.get("/health/live")).status_code == 200
            assert await up(client) == 0.0
            triton.start()
            await wait_for(client, 200)
            assert await up(client) == 1.0
            answer = await post(client, pair(8))
            assert_right(answer.json()["results"][0], pair(8), repository)


async def test_a_server_that_dies_while_it_computes_is_no_structures_fault(
    repository: Path,
) -> None:
    with fake_triton(repository) as triton:
        async with in_process(create_app(settings(repository, triton))) as (client, gateway):
            await gateway.loading
            triton.holding = {FLUORINE}
            asking = asyncio.create_task(post(client, pair(FLUORINE), on_error="partial"))
            await wait_until(lambda: triton.asked_about(FLUORINE))
            await asyncio.to_thread(triton.stop)
            refused = await asking
            assert (refused.status_code, refused.json()["code"]) == (503, "runtime_unavailable")


async def test_a_reload_while_the_server_is_away_changes_nothing(repository: Path) -> None:
    keys = repository.parent / "keys.json"
    key = create_key(keys, "operator", ["predict", "admin"])
    # Triton's own, which has both from the start.
    shutil.copytree(repository, repository.parent / "triton")
    write_fake_model(repository.parent / "triton", version="2")
    with fake_triton(repository.parent / "triton") as triton:
        app = create_app(settings(repository, triton, keys_file=keys))
        async with in_process(app) as (client, gateway):
            client.headers["Authorization"] = f"Bearer {key}"
            await gateway.loading
            served = (await client.get("/v1/models")).json()
            triton.stop()
            await wait_for(client, 503)
            # One comes and one goes.
            write_fake_model(repository, version="2")
            shutil.rmtree(repository / "fake" / "1")
            refused = await client.post("/v1/admin/reload")
            assert (refused.status_code, refused.json()["code"]) == (503, "runtime_unavailable")
            assert int(refused.headers["Retry-After"]) >= 1
            assert (await client.get("/v1/models")).json() == served
            triton.start()
            await wait_for(client, 200)
            reloaded = await client.post("/v1/admin/reload")
            assert reloaded.status_code == 200, reloaded.text
            assert (reloaded.json()["added"], reloaded.json()["removed"]) == (
                ["fake/2"],
                ["fake/1"],
            )
            assert (await post(client, pair(8), version="2")).status_code == 200


async def test_a_version_that_no_server_has_is_refused_and_the_others_are_served(
    repository: Path,
) -> None:
    write_fake_model(repository, version="2")
    with fake_triton(repository, absent={"2"}) as triton:
        async with in_process(create_app(settings(repository, triton))) as (client, gateway):
            await gateway.loading
            assert (await post(client, pair(8))).status_code == 200
            assert (await post(client, pair(8), version="2")).status_code == 404
            (refused,) = gateway.models.refused
            assert "version 2 is not found" in refused.reason
            triton.absent.clear()
            await wait_until(lambda: not gateway.models.refused)
            assert (await post(client, pair(8), version="2")).status_code == 200


async def test_a_gateway_waits_for_a_server_that_has_none_of_its_models_yet(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    described: list[str] = []
    with fake_triton(repository, absent={"1"}, on_description=described.append) as triton:
        async with in_process(create_app(settings(repository, triton))) as (client, gateway):
            await wait_until(lambda: described)
            assert (await client.get("/health/ready")).status_code == 503
            assert not gateway.loading.done()
            await wait_until(lambda: "give the inference servers the gateway's" in caplog.text)
            triton.absent.clear()
            await wait_for(client, 200)
            assert (await post(client, pair(8))).status_code == 200


async def test_a_server_that_comes_back_with_other_weights_is_as_good_as_none(
    repository: Path,
) -> None:
    with fake_triton(repository) as triton:
        async with in_process(create_app(settings(repository, triton))) as (client, gateway):
            await gateway.loading
            triton.stop()
            triton.scale = {"1": 1.5}
            triton.asked.clear()
            triton.start()
            await wait_until(lambda: triton.asked)
            for _ in range(5):
                refused = await post(client, pair(8))
                assert (refused.status_code, refused.json()["code"]) == (503, "runtime_unavailable")
                assert (await client.get("/health/ready")).status_code == 503
                assert await up(client) == 0.0
            assert triton.asked_about(CARBON) == 0
            triton.stop()
            triton.scale.clear()
            triton.start()
            await wait_for(client, 200)
            assert_right((await post(client, pair(8))).json()["results"][0], pair(8), repository)


async def test_more_instances_take_more_batches_at_a_time(repository: Path) -> None:
    with fake_triton(repository, instances=2) as triton:
        async with in_process(create_app(settings(repository, triton))) as (client, gateway):
            await gateway.loading
            # What the gateway itself asked about single atoms.
            triton.asked.clear()
            triton.holding = {CARBON}
            asking = []
            for k in range(3):
                asking.append(asyncio.create_task(post(client, pair(8, 1.2 + 0.1 * k))))
                await wait_until(lambda k=k: triton.asked_about(CARBON) == k + 1)
            # These have to wait, and are computed together.
            asking += [asyncio.create_task(post(client, pair(7, 1.2 + 0.1 * k))) for k in range(4)]
            await asyncio.sleep(0.2)
            assert triton.asked_about(CARBON) == 3
            triton.release()
            answers = await asyncio.gather(*asking)
            assert {answer.status_code for answer in answers} == {200}
            for k in range(3):
                wanted = pair(8, 1.2 + 0.1 * k)
                assert_right(answers[k].json()["results"][0], wanted, repository)


@pytest.mark.parametrize("state", ["never connected", "connected", "dead", "hanging", "loading"])
async def test_a_gateway_ends_with_its_threads_whatever_the_server_does(
    repository: Path, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(threading.enumerate())
    with ExitStack() as stack:
        triton = FakeTriton(repository, port=free_port())
        stack.callback(triton.stop)
        if state != "never connected":
            triton.start()
        if state == "loading":
            triton.holding = {8}
        app = create_app(settings(repository, triton, triton_timeout_s=3.0))
        async with in_process(app) as (client, gateway):
            asking = []
            if state == "loading":
                await wait_until(lambda: triton.asked)
            elif state != "never connected":
                await wait_for(client, 200)
            if state == "dead":
                triton.stop()
                await wait_for(client, 503)
            if state == "hanging":
                triton.frozen = True
                asking = [asyncio.create_task(post(client, pair(8))) for _ in range(3)]
                await wait_until(lambda: gateway.budget.admitted_s > 0.0)
        # What had been taken in was finished, or told that it cannot be.
        assert {(await one).status_code for one in asking} <= {503}
    await wait_until(lambda: not _left(before))
    # Where asyncio tells of tasks that were left behind.
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


def _left(before: set[threading.Thread]) -> list[threading.Thread]:
    return [one for one in set(threading.enumerate()) - before if "forcegate" in one.name]
