"""Metrics count what they say, and no caller can make them grow."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from forcegate_service.api.app import create_app
from forcegate_service.contract.card import CARD_NAME
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client, in_process, running_gateway
from forcegate_service.watch.catalogue import catalogue, document
from forcegate_service.watch.metrics.metrics import Metrics
from forcegate_service.watch.metrics.problem_codes import PROBLEM_CODES, counted_code
from forcegate_service.watch.metrics.requests import LATENCY_BUCKETS_S, SIZE_CLASSES, size_class
from support.deployment import ROOT, routes

pytestmark = pytest.mark.anyio

PREDICT = {"route": "/v1/predict"}


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"forcegate_{name}", labels)


def test_size_classes_tell_a_step_from_a_campaign() -> None:
    found = [size_class(n) for n in (None, 0, 1, 2, 32, 33, 10_000)]
    assert found == ["none", "none", "1", "2-32", "2-32", "33+", "33+"]
    assert set(found) == set(SIZE_CLASSES)


def test_latencies_are_told_apart_from_a_fifth_of_a_millisecond_to_half_a_minute() -> None:
    assert (LATENCY_BUCKETS_S[0], LATENCY_BUCKETS_S[-1]) == (0.0002, 30.0)
    assert list(LATENCY_BUCKETS_S) == sorted(set(LATENCY_BUCKETS_S))


@pytest.mark.parametrize(("structures", "size"), [(1, "1"), (3, "2-32"), (40, "33+")])
async def test_time_is_counted_under_the_number_of_structures(
    settings: Settings, water: dict[str, Any], structures: int, size: str
) -> None:
    registry = CollectorRegistry()
    async with gateway_client(settings, metrics_registry=registry) as client:
        body = {"model": "fake", "structures": [water] * structures}
        await client.post("/v1/predict", json=body)
    count = "request_duration_seconds_count"
    assert value(registry, count, **PREDICT, code_class="2xx", size_class=size) == 1
    for phase in ("queue", "graph", "inference", "serialise"):
        assert value(registry, "phase_seconds_count", phase=phase, size_class=size) == 1
    assert value(registry, "batch_structures_sum") == structures
    # Water has three pairs of atoms, each counted in both directions.
    assert value(registry, "batch_edges_sum") == 6 * structures


def test_a_prediction_that_takes_the_short_way_is_counted_alike(
    settings: Settings, request_body: dict[str, Any]
) -> None:
    with running_gateway(settings) as url, httpx.Client(base_url=url) as client:
        client.post("/v1/predict", json=request_body)
        client.post("/v1/predict", json=request_body | {"more": 1})
        text = client.get("/metrics").text
    name = "forcegate_request_duration_seconds_count"
    assert f'{name}{{code_class="2xx",route="/v1/predict",size_class="1"}} 1.0' in text
    assert f'{name}{{code_class="4xx",route="/v1/predict",size_class="none"}} 1.0' in text
    assert 'forcegate_rejected_requests_total{code="field_unknown"} 1.0' in text


async def test_refused_requests_are_counted_by_the_code_of_their_problem(
    settings: Settings, request_body: dict[str, Any], water: dict[str, Any]
) -> None:
    registry = CollectorRegistry()
    async with gateway_client(settings, metrics_registry=registry) as client:
        await client.post("/v1/predict", json=request_body | {"model": "nobody"})
        await client.post("/v1/predict", content=b"{", headers={"Content-Type": "text/plain"})
        await client.get("/nowhere")
        # Served with a problem in it: the structure is refused, the request is not.
        bad = {"model": "fake", "on_error": "partial", "structures": [water, water | {"charge": 1}]}
        await client.post("/v1/predict", json=bad)
    counted = {
        code: value(registry, "rejected_requests_total", code=code)
        for code in ("model_not_found", "unsupported_media_type", "route_not_found")
    }
    assert set(counted.values()) == {1.0}
    assert value(registry, "rejected_requests_total", code="charge_unsupported") is None
    assert value(registry, "rejected_structures_total", reason="charge_unsupported") == 1.0


def test_a_code_that_is_not_on_the_list_has_no_series_of_its_own() -> None:
    assert counted_code("not_ready") == "not_ready"
    assert counted_code("whatever somebody made up") == "other"


def series_of(registry: CollectorRegistry) -> set[str]:
    return {
        f"{sample.name} {sorted(sample.labels.items())}"
        for family in registry.collect()
        if family.name.startswith("forcegate_")
        for sample in family.samples
    }


async def strange_requests(client: httpx.AsyncClient, body: dict[str, Any], salt: str) -> None:
    """Everything that a caller can choose is different for every ``salt``."""
    headers = {"X-Request-ID": salt, "User-Agent": salt, f"X-{salt}": salt, "Accept": "*/*"}
    structure = body["structures"][0]
    for method, path in (
        ("GET", f"/{salt}"),
        (salt.upper(), "/v1/predict"),
        (salt.upper(), f"/v1/{salt}"),
        ("GET", f"/v1/models/{salt}"),
        ("GET", f"/v1/models/fake?version={salt}"),
        ("GET", f"/health/ready?{salt}={salt}"),
        ("DELETE", "/metrics"),
    ):
        await client.request(method, path, headers=headers)
    for strange in (
        body | {"model": salt},
        body | {"version": salt},
        body | {salt: salt},
        body | {"properties": [salt]},
        body | {"on_error": salt},
        body | {"structures": [structure | {"id": salt}]},
        body | {"structures": [structure | {salt: 1}]},
    ):
        await client.post("/v1/predict", json=strange, headers=headers)
    for name in ("Content-Type", "Content-Encoding", "X-Request-Timeout", "Accept"):
        odd = {"Content-Type": "application/json", name: salt}
        await client.post("/v1/predict", content=json.dumps(body), headers=odd)


async def test_whatever_callers_write_the_number_of_series_stays(
    settings: Settings, request_body: dict[str, Any]
) -> None:
    registry = CollectorRegistry()
    async with gateway_client(settings, metrics_registry=registry) as client:
        await strange_requests(client, request_body, "first")
        # Answers are looked at after they have left.
        await asyncio.sleep(0.05)
        before = series_of(registry)
        for number in range(20):
            await strange_requests(client, request_body, f"strange{number}")
        after = series_of(registry)
    assert after == before
    assert not any("first" in series for series in before)
    labels = {
        sample.labels.get("route")
        for family in registry.collect()
        for sample in family.samples
        if "route" in sample.labels
    }
    assert labels <= {*routes(), "unmatched"}


async def test_what_validation_says_of_a_model_is_exported_and_follows_its_card(
    settings: Settings, repository: Path
) -> None:
    registry = CollectorRegistry()
    app = create_app(settings, metrics_registry=registry)
    async with in_process(app) as (_, gateway):
        assert gateway.loading is not None
        await gateway.loading
        before = announced(registry)
        path = repository / "fake" / "1" / CARD_NAME
        card = json.loads(path.read_text(encoding="utf-8"))
        card["status"]["md"] = "caution"
        path.write_text(json.dumps(card), encoding="utf-8")
        await gateway.reload()
        after = announced(registry)
    assert [labels["md"] for labels in before] == ["approved"]
    assert [labels["md"] for labels in after] == ["caution"]
    assert before[0]["digest"] == after[0]["digest"]


def announced(registry: CollectorRegistry) -> list[dict[str, str]]:
    return [
        sample.labels
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "forcegate_model_info"
    ]


async def test_the_budget_and_what_fills_it_are_exported(
    settings: Settings, request_body: dict[str, Any]
) -> None:
    registry = CollectorRegistry()
    async with gateway_client(settings, metrics_registry=registry) as client:
        await asyncio.gather(*(client.post("/v1/predict", json=request_body) for _ in range(5)))
        assert value(registry, "queue_budget_seconds") == settings.queue_budget_s
        assert value(registry, "admitted_seconds") == 0.0
        assert value(registry, "queued_seconds") == 0.0
        assert value(registry, "runtime_up") == 1.0


def test_the_process_tells_its_build_and_what_it_uses() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    names = {sample.name for family in registry.collect() for sample in family.samples}
    assert {"forcegate_build_info", "process_resident_memory_bytes"} <= names
    assert "python_gc_collections_total" in names


def test_the_document_is_what_the_code_says() -> None:
    written = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert written == document(catalogue()), "run forcegate-serve metrics > docs/metrics.md"


def test_the_codes_that_are_counted_are_those_that_are_documented() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    # What the client says itself comes after it.
    served = text.partition("\n## ")[0]
    rows = [line.split("|")[2] for line in served.splitlines() if line.startswith("| ")]
    documented = {code.strip(" `") for row in rows[1:] for code in row.split(",")}
    assert documented == PROBLEM_CODES
