"""Without keys a server answers to the names of its machine, and to pages of its own alone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from forcegate_service.api.access.keyfile import create_key
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client

pytestmark = pytest.mark.anyio

ROUTES = [
    ("GET", "/"),
    ("GET", "/v1/models"),
    ("GET", "/health/live"),
    ("GET", "/metrics"),
    ("GET", "/nowhere"),
    ("POST", "/v1/predict"),
    ("POST", "/v1/shadow/results"),
    ("POST", "/v1/admin/reload"),
]
OWN = ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8000"]
OTHERS = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.nip.io:8000",
    "10.0.0.1",
    "[::2]:80",
    "0.0.0.0",
    "",
    "user@localhost",
    "localhost:80@evil.example",
    "gateway",
]


def keyed(settings: Settings, tmp_path: Path) -> tuple[Settings, dict[str, str]]:
    keys = tmp_path / "keys.json"
    key = create_key(keys, "somebody", ["predict"])
    return settings.model_copy(update={"keys_file": keys}), {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("host", OWN)
async def test_names_of_this_machine_are_answered(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/v1/models", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", OTHERS)
async def test_other_names_are_refused_at_every_door(client: httpx.AsyncClient, host: str) -> None:
    for method, path in ROUTES:
        refused = await client.request(method, path, headers={"Host": host})
        assert refused.status_code == 403, (path, refused.text)
        assert refused.json()["code"] == "host_not_allowed"


async def test_one_host_is_to_be_named(client: httpx.AsyncClient) -> None:
    for headers in ([], [("Host", "localhost"), ("Host", "localhost")]):
        request = client.build_request("GET", "/health/live")
        request.headers = httpx.Headers(headers)
        refused = await client.send(request)
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed_request")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:3000", "https://localhost", "file://", ""],
)
async def test_pages_of_others_are_refused(
    client: httpx.AsyncClient, request_body: dict[str, Any], origin: str
) -> None:
    headers = {"Origin": origin}
    for answer in (
        await client.post("/v1/predict", json=request_body, headers=headers),
        await client.get("/v1/models", headers=headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "host_not_allowed")


async def test_pages_of_this_server_are_answered(
    client: httpx.AsyncClient, request_body: dict[str, Any]
) -> None:
    for host in ("localhost:8000", "127.0.0.1"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        answer = await client.post("/v1/predict", json=request_body, headers=headers)
        assert answer.status_code == 200


async def test_hosts_can_be_named(
    settings: Settings, tmp_path: Path, request_body: dict[str, Any]
) -> None:
    with_keys, key = keyed(settings, tmp_path)
    named = {"allowed_hosts": "gateway.example.org, [2001:db8::1]"}
    for options, headers in (
        (settings.model_copy(update=named), {}),
        (with_keys.model_copy(update=named), key),
    ):
        async with gateway_client(options) as client:
            for host, status in (
                ("gateway.example.org", 200),
                ("Gateway.Example.org:443", 200),
                ("[2001:db8::1]:80", 200),
                ("localhost", 200),
                ("other.example.org", 403),
            ):
                answer = await client.post(
                    "/v1/predict", json=request_body, headers=headers | {"Host": host}
                )
                assert answer.status_code == status, host


async def test_with_keys_every_name_is_answered_unless_some_are_named(
    settings: Settings, tmp_path: Path, request_body: dict[str, Any]
) -> None:
    with_keys, key = keyed(settings, tmp_path)
    async with gateway_client(with_keys) as client:
        headers = key | {"Host": "anything.example", "Origin": "https://proxied.example"}
        answer = await client.post("/v1/predict", json=request_body, headers=headers)
        assert answer.status_code == 200


async def test_what_came_through_a_proxy_is_not_from_this_machine(
    client: httpx.AsyncClient,
) -> None:
    body: dict[str, Any] = {"results": [], "skipped": []}
    assert (await client.post("/v1/shadow/results", json=body)).status_code == 200
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        for value in ("127.0.0.1", "10.0.0.7"):
            answer = await client.post("/v1/shadow/results", json=body, headers={header: value})
            assert answer.status_code == 403


async def lines_of(
    options: Settings, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> list[dict[str, Any]]:
    caplog.clear()
    with caplog.at_level(logging.INFO):
        async with gateway_client(options) as client:
            await client.post("/v1/predict", json={}, headers=headers)
    found = [getattr(record, "fields", None) for record in caplog.records]
    return [fields for fields in found if fields is not None]


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client"),
    [
        (None, "203.0.113.9", "127.0.0.1"),
        ("10.0.0.0/8", "203.0.113.9", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.0/8", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.1,10.0.0.0/8", "203.0.113.9, 10.1.2.3", "203.0.113.9"),
    ],
)
async def test_forwarded_addresses_are_believed_of_named_proxies_alone(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    proxies: str | None,
    forwarded: str,
    client: str,
) -> None:
    options = settings.model_copy(update={"trusted_proxies": proxies})
    (line,) = await lines_of(options, caplog, {"X-Forwarded-For": forwarded})
    assert line["client"] == client


async def test_a_refused_key_leaves_a_line_with_the_address_and_without_the_key(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_keys, _ = keyed(settings, tmp_path)
    wrong = "fg_aaaaaaaa_" + "x" * 43
    for headers in ({}, {"Authorization": f"Bearer {wrong}"}, {"Authorization": "Basic abc"}):
        (line,) = await lines_of(with_keys, caplog, headers)
        assert (line["status"], line["problem"]) == (401, "unauthorized")
        assert line["client"] == "127.0.0.1"
        assert "127.0.0.1" in caplog.text
        assert wrong not in caplog.text
        assert "abc" not in caplog.text


@pytest.mark.parametrize(
    "setting",
    [
        {"allowed_hosts": "http://gateway.example.org"},
        {"allowed_hosts": "gateway.example.org:443"},
        {"allowed_hosts": "*"},
        {"trusted_proxies": "proxy.example.org"},
        {"trusted_proxies": "10.0.0.1/8"},
        {"trusted_proxies": "*"},
    ],
)
def test_settings_that_would_mean_something_else_are_refused(setting: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Settings(**setting)  # type: ignore[arg-type]
