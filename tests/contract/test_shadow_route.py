"""Who may report a student's errors, and what is made of a report that is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from forcegate_client.errors import Forbidden
from forcegate_service.api.access.caller import ANONYMOUS, Access, Caller
from forcegate_service.api.access.keyfile import create_key
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client
from support.shadowing import WATER

pytestmark = pytest.mark.anyio

ROUTE = "/v1/shadow/results"
RESULT: dict[str, Any] = {
    "id": "f" * 32, "n_atoms": 3, "force_absolute_sum": 0.9, "force_squared_sum": 0.09,
    "energy_error_ev": 0.1,
}  # fmt: skip
BODY = {"results": [RESULT], "skipped": [{"id": "e" * 32, "reason": "gap_too_small"}]}


@pytest.fixture
def shadowing(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"shadow_fraction": 1.0, "shadow_dir": tmp_path / "spool"})


@pytest.fixture
async def gateway(shadowing: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway_client(shadowing) as client:
        yield client


async def test_results_that_nobody_waits_for_are_refused_one_by_one(
    gateway: httpx.AsyncClient,
) -> None:
    answer = await gateway.post(ROUTE, json=BODY)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 0, "refused": 2})
    metrics = (await gateway.get("/metrics")).text
    assert [line for line in metrics.splitlines() if line.startswith("forcegate_shadow_")] == []


async def test_a_gateway_that_puts_nothing_aside_waits_for_nothing(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.post(ROUTE, json=BODY)).json() == {"accepted": 0, "refused": 2}


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_body"),
        (b"[]", "application/json", 400, "malformed_body"),
        (b"{}", "application/msgpack", 415, "unsupported_media_type"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b'{"run": 1}', "application/json", 422, "field_unknown"),
        (b'{"results": [{}]}', "application/json", 422, "field_missing"),
        (b'{"skipped": [{"id": 1}]}', "application/json", 422, "type_mismatch"),
        (b'{"results": [' + b"{}," * 400_000, "application/json", 413, "body_too_large"),
    ],
)
async def test_what_is_no_report_is_refused(
    gateway: httpx.AsyncClient, content: bytes, kind: str, status: int, code: str
) -> None:
    answer = await gateway.post(ROUTE, content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_more_results_than_a_file_holds_are_refused(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.post(ROUTE, json={"results": [RESULT] * 257})
    assert (answer.status_code, answer.json()["code"]) == (422, "shape_mismatch")


async def test_with_keys_in_force_it_takes_the_scope(shadowing: Settings, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    every = {
        scope: create_key(keys, scope, [scope])  # type: ignore[list-item]
        for scope in ("predict", "report", "shadow", "admin")
    }
    secured = shadowing.model_copy(update={"keys_file": keys, "allow_anonymous": True})
    async with gateway_client(secured) as client:
        assert (await client.post(ROUTE, json=BODY)).status_code == 403
        for scope, key in every.items():
            headers = {"Authorization": f"Bearer {key}"}
            answer = await client.post(ROUTE, json=BODY, headers=headers)
            assert answer.status_code == (200 if scope == "shadow" else 403), scope


@pytest.mark.parametrize(
    ("host", "let_in"),
    [("127.0.0.1", True), ("::1", True), ("10.0.0.7", False), ("", False), ("evil", False)],
)
async def test_without_keys_only_this_machine_may_report(host: str, let_in: bool) -> None:
    access = Access(None, allow_anonymous=True)
    if let_in:
        access.require_here(ANONYMOUS, "shadow", host)
    else:
        with pytest.raises(Forbidden, match="scope shadow"):
            access.require_here(ANONYMOUS, "shadow", host)


async def test_a_key_s_scope_counts_wherever_its_owner_is(tmp_path: Path) -> None:
    create_key(tmp_path / "keys.json", "a worker", ["shadow"])
    settings = Settings(keys_file=tmp_path / "keys.json")
    access = Access.from_settings(settings)
    access.require_here(Caller("somebody", frozenset({"shadow"})), "shadow", "10.0.0.7")
    with pytest.raises(Forbidden):
        access.require_here(ANONYMOUS, "shadow", "127.0.0.1")


async def test_predictions_go_on_while_everything_is_put_aside(
    gateway: httpx.AsyncClient,
) -> None:
    for _ in range(3):
        answer = await gateway.post("/v1/predict", json={"model": "fake", "structures": [WATER]})
        assert answer.status_code == 200
