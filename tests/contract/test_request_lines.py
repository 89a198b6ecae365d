"""What a request leaves in the log: enough to find out, nothing that drowns it, and no secret."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from forcegate_service.api.app import create_app
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client, in_process

pytestmark = pytest.mark.anyio

LINES = "forcegate_service.api.request_log"


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Those of requests, at levels that are written by default."""
    return [
        record
        for record in caplog.records
        if record.name == LINES and record.levelno >= logging.INFO
    ]


@pytest.fixture(autouse=True)
def as_by_default(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_a_path_that_leads_nowhere_is_named_bounded_and_in_ascii(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get("/wp-admin/setup.php", params={"token": "secret"})
    await client.get("/" + "a" * 5000)
    await client.get("/%1b%5b2J%0aERROR%20forged%e2%80%ae")
    named, long, strange = lines(caplog)
    assert "'/wp-admin/setup.php'" in named.getMessage()
    assert "secret" not in named.getMessage()
    assert len(long.getMessage()) < 500
    assert strange.getMessage().isprintable()
    assert strange.getMessage().isascii()
    assert named.fields["route"] == "unmatched"  # type: ignore[attr-defined]
    assert "setup.php" in named.fields["path"]  # type: ignore[attr-defined]


async def test_health_checks_of_a_gateway_that_loads_are_no_news(
    settings: Settings, caplog: pytest.LogCaptureFixture, request_body: dict[str, Any]
) -> None:
    async with in_process(create_app(settings)) as (client, gateway):
        assert gateway.loading is not None
        # Nothing was loaded yet: no turn of the loop has passed.
        answer = await client.get("/health/ready")
        assert answer.status_code == 503
        assert lines(caplog) == []
        await gateway.loading
        await client.get("/health/ready")
        await client.post("/v1/predict", json=request_body)
    assert lines(caplog) == []


async def test_with_an_access_log_each_request_leaves_a_line(
    settings: Settings, caplog: pytest.LogCaptureFixture, request_body: dict[str, Any]
) -> None:
    async with gateway_client(settings.model_copy(update={"access_log": True})) as client:
        await client.post("/v1/predict", json=request_body)
        await client.get("/health/live")
        await client.get("/v1/models")
    told = [record.getMessage() for record in lines(caplog)]
    assert [text.split(" in ")[0] for text in told] == [
        "POST /v1/predict 200", "GET /health/live 200", "GET /v1/models 200",
    ]  # fmt: skip


async def test_metrics_have_no_series_that_nobody_asks_for(
    client: httpx.AsyncClient, request_body: dict[str, Any]
) -> None:
    await client.post("/v1/predict", json=request_body)
    text = (await client.get("/metrics")).text
    assert "forcegate_requests_total{" in text
    assert "_created" not in text


async def test_who_may_not_reload_is_told_what_may_be_done(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    refused = await client.post("/v1/admin/reload")
    assert refused.status_code == 403
    problem = refused.json()
    assert "without keys" in problem["received"]
    assert "SIGHUP" in problem["action"]
