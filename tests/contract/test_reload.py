"""Versions come and go while the gateway serves."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from forcegate_client.errors import ModelNotFound
from forcegate_service.api.access.keyfile import create_key
from forcegate_service.api.app import create_app
from forcegate_service.contract.card import MODEL_NAME, ModelCard
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.predict.gateway import Gateway
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client, in_process
from support.staged import Gate, StagedRuntime, post

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(
    settings: Settings,
) -> AsyncIterator[tuple[httpx.AsyncClient, Gateway, dict[str, StagedRuntime]]]:
    """A client, the gateway, and its runtimes by ``model/version``."""
    runtimes: dict[str, StagedRuntime] = {}

    def load(folder: Path) -> StagedRuntime:
        runtime = StagedRuntime(folder)
        runtimes[f"{folder.parent.name}/{folder.name}"] = runtime
        return runtime

    async with in_process(create_app(settings, load_runtime=load)) as (client, gateway):
        assert gateway.loading is not None
        await gateway.loading
        yield client, gateway, runtimes


def _set_status(folder: Path, **status: str) -> ModelCard:
    card = ModelCard.load(folder)
    changed = ModelCard.model_validate(card.model_dump() | {"status": card.status | status})
    changed.save(folder)
    return changed


async def test_a_new_version_is_served_and_the_old_one_stays(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    async with opened(settings) as (client, gateway, _runtimes):
        write_fake_model(repository, version="2")
        changes = await gateway.reload()
        newest, pinned = await post(client, water), await post(client, water, version="1")
    assert (changes.added, changes.kept) == (["fake/2"], ["fake/1"])
    assert (newest.json()["version"], pinned.json()["version"]) == ("2", "1")


async def test_a_version_that_is_gone_finishes_what_it_has_begun(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    write_fake_model(repository, version="2")
    async with opened(settings) as (client, gateway, runtimes):
        closed: list[str] = []
        runtimes["fake/1"].close = lambda: closed.append("fake/1")  # type: ignore[method-assign]
        gate = runtimes["fake/1"].before = Gate()
        running = asyncio.create_task(post(client, water, version="1"))
        await gate.entered()
        shutil.rmtree(repository / "fake" / "1")
        reloading = asyncio.create_task(gateway.reload())
        while "1" in gateway.models.models["fake"]:
            await asyncio.sleep(0.001)
        refused = await post(client, water, version="1")
        assert not closed
        gate.open()
        answer, changes = await running, await reloading
        assert closed == ["fake/1"]
        metrics = (await client.get("/metrics")).text
    assert answer.status_code == 200
    assert refused.status_code == 404
    assert changes.removed == ["fake/1"]
    announced = [line for line in metrics.splitlines() if line.startswith("forcegate_model_info{")]
    assert len(announced) == 1
    assert 'version="2"' in announced[0]


async def test_a_changed_card_is_read_without_loading_weights_again(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    async with opened(settings) as (client, gateway, runtimes):
        before = runtimes["fake/1"]
        _set_status(repository / "fake" / "1", md="rejected")
        changes = await gateway.reload()
        answer = await post(client, water)
    assert changes.updated == ["fake/1"]
    assert answer.json()["status"]["md"] == "rejected"
    assert runtimes["fake/1"] is before


OTHER_VALUES: dict[str, Any] = {
    "created": "2001-01-01T00:00:00Z",
    "code_version": "9",
    "torch_version": "9",
    "units": {"energy": "kcal/mol"},
    "cutoff": 4.0,
    "minimum_distance": 0.1,
    "elements": [1, 8],
    "n_parameters": 7,
    "architecture": {"kind": "fake", "width": 7},
    "teacher": {"name": "another"},
    "dataset": {"sha256": "0"},
    "training": {"epochs": 7},
    "limits": {"force": 1e9, "minimum_distances": {"H-O": 0.1}},
}


@pytest.mark.parametrize("field", OTHER_VALUES)
async def test_whatever_else_changes_in_a_card_is_refused_and_no_answer_changes(
    field: str, settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    folder = repository / "fake" / "1"
    close = water | {"positions": [[0, 0, 0], [0.75, 0, 0], [-0.2, 0.71, 0]]}
    async with opened(settings) as (client, gateway, _runtimes):
        expected = (await post(client, water, close)).json()
        card = ModelCard.load(folder)
        other = ModelCard.model_validate(card.model_dump() | {field: OTHER_VALUES[field]})
        other.save(folder)
        changes = await gateway.reload()
        answer = (await post(client, water, close)).json()
        shown = (await client.get("/v1/models/fake")).json()
        listed = (await client.get("/v1/models")).json()
    assert list(changes.refused) == changes.kept == ["fake/1"]
    assert field in changes.refused["fake/1"]
    assert listed["refused"][0]["name"] == "fake"
    assert answer["results"] == expected["results"]
    assert answer["card_digest"] == expected["card_digest"] == listed["models"][0]["card_digest"]
    assert ModelCard.model_validate(shown) == card
    # As a new version it is welcome to whoever starts again, and is another one.
    assert other.card_digest != card.card_digest
    async with gateway_client(settings) as client:
        # A reference structure that has other answers at another cutoff may stand in the way.
        if (await client.get("/health/ready")).status_code == 200:
            again = (await client.get("/v1/models")).json()["models"][0]
            assert again["card_digest"] == other.card_digest


async def test_the_card_is_part_of_the_pin(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    folder = repository / "fake" / "1"
    card = ModelCard.load(folder)
    pinned = settings.model_copy(update={"model_digests": f"fake/1={card.card_digest}"})
    async with gateway_client(pinned) as client:
        assert (await post(client, water)).json()["card_digest"] == card.card_digest
    # What is measured of a version does not make it another one.
    _set_status(folder, md="caution")
    async with gateway_client(pinned) as client:
        assert (await post(client, water)).status_code == 200
    card.model_copy(update={"minimum_distance": 0.1}).save(folder)
    async with gateway_client(pinned) as client:
        assert (await client.get("/health/ready")).status_code == 503


async def test_a_version_that_answers_its_reference_otherwise_takes_no_new_card(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    async with opened(settings) as (client, gateway, runtimes):
        _set_status(repository / "fake" / "1", md="caution")

        def spoil(graph: Graph, output: ModelOutput) -> None:
            output.energy[:] += 1.0

        runtimes["fake/1"].after = spoil
        changes = await gateway.reload()
        answer = (await post(client, water)).json()
    assert "reference energy" in changes.refused["fake/1"]
    assert answer["status"]["md"] == "approved"


async def test_weights_that_change_under_a_number_are_refused_and_the_loaded_ones_stay(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    async with opened(settings) as (client, gateway, _runtimes):
        expected = (await post(client, water)).json()
        folder = repository / "fake" / "1"
        (folder / MODEL_NAME).write_bytes(b"other weights")
        changes = await gateway.reload()
        listed = (await client.get("/v1/models")).json()
        answer = (await post(client, water)).json()
    assert "fake/1" in changes.refused
    assert listed["refused"][0]["version"] == "1"
    assert (answer["digest"], answer["results"]) == (expected["digest"], expected["results"])


async def test_when_nothing_is_left_all_stays_as_it_was(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    async with opened(settings) as (client, gateway, _runtimes):
        shutil.rmtree(repository / "fake")
        with pytest.raises(ModelRefused, match="no model in it"):
            await gateway.reload()
        assert (await post(client, water)).status_code == 200


async def test_only_pinned_weights_are_served(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    good = write_fake_model(repository, version="2")
    pins = f"fake/2={good.digest},fake/1=sha256:{64 * '0'}"
    pinned = settings.model_copy(update={"model_digests": pins})
    async with gateway_client(pinned) as client:
        listed = (await client.get("/v1/models")).json()
    assert listed["models"][0]["versions"] == ["2"]
    assert good.digest not in listed["refused"][0]["reason"]
    assert 64 * "0" in listed["refused"][0]["reason"]
    only_other = settings.model_copy(update={"model_digests": f"fake/3={good.digest}"})
    async with gateway_client(only_other) as client:
        assert (await client.get("/health/ready")).status_code == 503


async def test_a_version_without_the_required_approval_is_not_asked(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    write_fake_model(repository, version="2")
    _set_status(repository / "fake" / "2", md="not_validated")
    strict = settings.model_copy(update={"require_approval": "md"})
    async with gateway_client(strict) as client:
        approved = await post(client, water, version="1")
        newest = await post(client, water)
    assert approved.status_code == 200
    assert newest.status_code == 403
    assert newest.json()["code"] == "model_not_approved"
    assert "not_validated for md" in newest.json()["received"]


async def test_the_default_model_is_the_only_one_or_the_one_that_is_named(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    body = {"model": "default", "structures": [water]}
    async with gateway_client(settings) as client:
        assert (await client.post("/v1/predict", json=body)).json()["model"] == "fake"
    write_fake_model(repository, name="other")
    async with gateway_client(settings) as client:
        assert (await client.post("/v1/predict", json=body)).status_code == ModelNotFound.status
    named = settings.model_copy(update={"default_model": "other"})
    async with gateway_client(named) as client:
        assert (await client.post("/v1/predict", json=body)).json()["model"] == "other"


async def test_reloading_takes_the_scope_of_an_operator(
    settings: Settings, repository: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    user = create_key(keys, "user", ["predict"])
    operator = create_key(keys, "operator", ["admin"])
    write_fake_model(repository, version="2")
    route = "/v1/admin/reload"
    async with gateway_client(settings) as client:
        assert (await client.post(route)).status_code == 403
    async with gateway_client(settings.model_copy(update={"keys_file": keys})) as client:
        answers = [
            await client.post(route, headers={"Authorization": f"Bearer {key}"})
            for key in (user, operator)
        ]
        assert (await client.post(route)).status_code == 401
    assert [answer.status_code for answer in answers] == [403, 200]
    assert answers[1].json()["kept"] == ["fake/1", "fake/2"]
