"""Which version answers when none is named: a validated one, until an operator decides."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from forcegate_service.api.app import create_app
from forcegate_service.cli import create_cli
from forcegate_service.contract.card import MODEL_NAME, ModelCard
from forcegate_service.models.promotion import PromotionRefused, promote
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client, in_process
from support.full_disk import files_may_not_grow
from support.staged import post

pytestmark = pytest.mark.anyio

NOTHING = dict.fromkeys(("md", "relax", "screening", "periodic"), "not_validated")
REJECTED = dict.fromkeys(("md", "relax", "screening"), "rejected") | {"periodic": "not_validated"}


def add(repository: Path, version: str, status: Mapping[str, str] | None = None) -> ModelCard:
    """Another version of the toy, fit for most uses unless told otherwise."""
    card = write_fake_model(repository, version=version)
    if status is not None:
        card = ModelCard.model_validate(card.model_dump() | {"status": dict(status)})
        card.save(repository / "fake" / version)
    return card


def serve(*words: str) -> Result:
    """A command of the operator."""
    return CliRunner().invoke(create_cli(), words)


async def listed(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/v1/models")
    found: dict[str, Any] = answer.json()["models"][0]
    return found


async def test_the_newest_version_that_is_fit_for_something_is_the_default(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    add(repository, "2", NOTHING | {"relax": "caution"})
    add(repository, "3", NOTHING)
    add(repository, "4", REJECTED)
    # Pairs that are bound well do not make a model fit for dynamics, relaxation or screening.
    add(repository, "5", REJECTED | {"binding": "approved"})
    async with gateway_client(settings) as client:
        entry = await listed(client)
        assert (entry["default_version"], entry["versions"]) == ("2", ["1", "2", "3", "4", "5"])
        assert "validated" in entry["default_reason"]
        assert (await post(client, water)).json()["version"] == "2"
        assert (await client.get("/v1/models/fake")).json()["version"] == "2"
        # By its number everything can be had: its status is in the answer.
        named = (await post(client, water, version="3")).json()
        assert named["status"] == NOTHING


async def test_what_nobody_validated_answers_only_when_it_is_named(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    shutil.rmtree(repository / "fake")
    add(repository, "1", NOTHING)
    async with gateway_client(settings) as client:
        entry = await listed(client)
        assert entry["default_version"] is None
        refused = await post(client, water)
        assert (refused.status_code, refused.json()["code"]) == (404, "no_default_version")
        assert "forcegate-serve promote" in refused.json()["action"]
        assert (await post(client, water, version="1")).status_code == 200
        card = await client.get("/v1/models/fake")
        assert card.json()["code"] == "no_default_version"


async def test_promoting_and_rolling_back_take_effect_at_a_reload_and_drop_nothing(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    add(repository, "2")
    folder = ("--model-repository", str(repository))
    async with in_process(create_app(settings)) as (client, gateway):
        assert gateway.loading is not None
        await gateway.loading
        answers: list[httpx.Response] = []
        done = asyncio.Event()

        async def ask() -> None:
            while not done.is_set():
                answers.append(await post(client, water))

        asking = asyncio.create_task(ask())
        assert (await post(client, water)).json()["version"] == "2"
        promoted = serve("promote", "fake", "1", *folder)
        assert promoted.exit_code == 0, promoted.stderr
        assert "version 1 is the default (before: 2)" in promoted.stdout
        assert (await post(client, water)).json()["version"] == "2"
        changes = await gateway.reload()
        assert changes.defaults["fake"].startswith("1: version 1 was promoted by ")
        assert (await post(client, water)).json()["version"] == "1"
        entry = await listed(client)
        assert entry["default_version"] == "1"
        assert "promoted by" in entry["default_reason"]
        # A newer one changes nothing any more.
        add(repository, "3")
        assert (await gateway.reload()).defaults == {}
        assert (await post(client, water)).json()["version"] == "1"
        back = serve(*folder, "rollback", "fake")
        assert "version 2 is the default (before: 1)" in back.stdout
        assert list((await gateway.reload()).defaults) == ["fake"]
        assert (await post(client, water)).json()["version"] == "2"
        done.set()
        await asking
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["version"] for answer in answers} == {"1", "2"}


async def test_a_version_that_is_not_validated_is_promoted_by_force_alone_and_tells_of_it(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    add(repository, "2", REJECTED)
    words = ("promote", "fake", "2", "--model-repository", str(repository))
    refused = serve(*words)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert len(refused.stderr.splitlines()) == 1
    assert "md: rejected" in refused.stderr
    assert "--force" in refused.stderr
    async with gateway_client(settings) as client:
        assert (await post(client, water)).json()["version"] == "1"
    forced = serve(*words, "--force")
    assert forced.exit_code == 0
    assert "not validated" in forced.stderr
    async with gateway_client(settings) as client:
        by_default = (await post(client, water)).json()
        named = (await post(client, water, version="2")).json()
        assert "not validated" in (await listed(client))["default_reason"]
    assert by_default["version"] == "2"
    assert "not validated" in json.dumps(by_default["results"])
    assert "not validated" not in json.dumps(named["results"])


async def test_who_decided_what_and_when_stands_in_a_file_beside_the_versions(
    repository: Path,
) -> None:
    card = add(repository, "2")
    promote(repository, "fake", "1")
    decision = promote(repository, "fake", "2")
    pointer = json.loads((repository / "fake" / "default.json").read_text())
    assert (pointer["version"], pointer["previous"], pointer["forced"]) == ("2", "1", False)
    assert pointer["card_digest"] == card.card_digest
    assert "@" in pointer["who"]
    assert pointer["when"] == f"{decision.when:%Y-%m-%dT%H:%M:%SZ}"
    # Deciding the same again does not make it what was before.
    assert promote(repository, "fake", "2").previous == "1"
    before = (repository / "fake" / "default.json").read_bytes()
    with files_may_not_grow(8), pytest.raises(PromotionRefused, match="the default is as it was"):
        promote(repository, "fake", "1")
    assert (repository / "fake" / "default.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("promote", "fake", "7"), "expected one of 1"),
        (("promote", "other", "1"), "expected one of fake"),
        (("promote", "../fake", "1"), "expected one of fake"),
        (("rollback", "fake"), "never changed"),
        (("rollback", "fake", "7"), "expected one of 1"),
    ],
)
async def test_what_cannot_be_decided_is_told_in_one_line(
    repository: Path, words: tuple[str, ...], said: str
) -> None:
    refused = serve(*words, "--model-repository", str(repository))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("forcegate-serve: ")
    assert len(refused.stderr.splitlines()) == 1
    assert said in refused.stderr
    assert not (repository / "fake" / "default.json").exists()


async def test_weights_that_are_not_the_card_s_are_not_promoted(repository: Path) -> None:
    (repository / "fake" / "1" / MODEL_NAME).write_bytes(b"other weights")
    refused = serve("promote", "fake", "1", "--model-repository", str(repository))
    assert refused.exit_code == 1
    assert "sha256:" in refused.stderr


async def test_a_promoted_version_that_cannot_be_served_is_replaced_by_no_other(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    add(repository, "2")
    promote(repository, "fake", "1")
    shutil.rmtree(repository / "fake" / "1")
    async with gateway_client(settings) as client:
        refused = await post(client, water)
        assert refused.json()["code"] == "no_default_version"
        assert "version 1 was promoted" in refused.json()["received"]
        assert (await post(client, water, version="2")).status_code == 200


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": "1"}', b"\xff", b"[1]"])
async def test_a_pointer_that_cannot_be_read_changes_nothing_while_the_gateway_runs(
    settings: Settings, repository: Path, water: dict[str, Any], content: bytes
) -> None:
    add(repository, "2")
    promote(repository, "fake", "1")
    pointer = repository / "fake" / "default.json"
    async with in_process(create_app(settings)) as (client, gateway):
        assert gateway.loading is not None
        await gateway.loading
        pointer.write_bytes(content)
        await gateway.reload()
        assert (await post(client, water)).json()["version"] == "1"
    async with gateway_client(settings) as client:
        # In its next life it knows nothing better, and takes no guess.
        assert (await post(client, water)).json()["code"] == "no_default_version"
    promote(repository, "fake", "2")
    async with gateway_client(settings) as client:
        assert (await post(client, water)).json()["version"] == "2"
