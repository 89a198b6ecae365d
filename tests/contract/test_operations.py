"""Health, metrics, models, the OpenAPI document, request ids and the last resort."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from forcegate_service.api.app import create_app
from forcegate_service.contract.card import CARD_NAME, MODEL_NAME
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.fake import FakeRuntime, load_fake, write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client, in_process

pytestmark = pytest.mark.anyio


async def test_the_gateway_is_live_at_once_and_ready_once_models_are_loaded(
    settings: Settings, request_body: dict[str, Any]
) -> None:
    release = threading.Event()

    def load(folder: Path) -> FakeRuntime:
        assert release.wait(30)
        return load_fake(folder)

    async with in_process(create_app(settings, load_runtime=load)) as (client, gateway):
        assert (await client.get("/health/live")).status_code == 200
        for response in (
            await client.get("/health/ready"),
            await client.get("/v1/models"),
            await client.post("/v1/predict", json=request_body),
        ):
            assert response.status_code == 503
            assert response.json()["code"] == "not_ready"
            assert "retry-after" in response.headers
        release.set()
        await gateway.loading
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.post("/v1/predict", json=request_body)).status_code == 200


async def test_the_newest_version_is_the_default(
    repository: Path, settings: Settings, request_body: dict[str, Any]
) -> None:
    write_fake_model(repository, version="10")
    write_fake_model(repository, version="9")
    async with gateway_client(settings) as client:
        entry = (await client.get("/v1/models")).json()["models"][0]
        assert entry["versions"] == ["1", "9", "10"]
        assert entry["default_version"] == "10"
        assert (await client.get("/v1/models/fake")).json()["version"] == "10"
        assert (await client.get("/v1/models/fake?version=9")).json()["version"] == "9"
        newest = (await client.post("/v1/predict", json=request_body)).json()
        pinned = (await client.post("/v1/predict", json=request_body | {"version": "9"})).json()
    assert (newest["version"], pinned["version"]) == ("10", "9")
    assert newest["digest"] != pinned["digest"]


async def test_a_version_whose_file_was_changed_is_not_served_but_listed(
    repository: Path, settings: Settings, request_body: dict[str, Any]
) -> None:
    write_fake_model(repository, version="2")
    (repository / "fake" / "2" / MODEL_NAME).write_bytes(b"something else")
    async with gateway_client(settings) as client:
        listing = (await client.get("/v1/models")).json()
        assert listing["models"][0]["versions"] == ["1"]
        assert [(item["name"], item["version"]) for item in listing["refused"]] == [("fake", "2")]
        assert "sha256" in listing["refused"][0]["reason"]
        assert (await client.post("/v1/predict", json=request_body)).json()["version"] == "1"


async def test_a_gateway_without_any_good_model_reports_failure(
    repository: Path, settings: Settings
) -> None:
    (repository / "fake" / "1" / CARD_NAME).unlink()
    failures: list[Exception] = []
    app = create_app(settings, on_failure=failures.append)
    async with in_process(app) as (client, gateway):
        await gateway.loading
        assert (await client.get("/health/ready")).status_code == 503
    assert isinstance(failures[0], ModelRefused)


async def test_metrics_count_requests_batches_and_rejections(
    settings: Settings, request_body: dict[str, Any], water: dict[str, Any]
) -> None:
    registry = CollectorRegistry()
    async with gateway_client(settings, metrics_registry=registry) as client:
        await client.post("/v1/predict", json=request_body)
        bad = {"model": "fake", "structures": [water | {"charge": 1}]}
        await client.post("/v1/predict", json=bad)
        await client.get("/nowhere")
        text = (await client.get("/metrics")).text
        digest = (await client.get("/v1/models")).json()["models"][0]["digest"]
    for line in (
        'forcegate_requests_total{code="200",route="/v1/predict"} 1.0',
        'forcegate_requests_total{code="422",route="/v1/predict"} 1.0',
        'forcegate_requests_total{code="404",route="unmatched"} 1.0',
        'forcegate_rejected_structures_total{reason="charge_unsupported"} 1.0',
        'forcegate_structures_total{model="fake"} 1.0',
        "forcegate_batch_structures_count 1.0",
        f'forcegate_model_info{{binding="not_validated",digest="{digest}",ions="not_validated",'
        'md="approved",model="fake",periodic="not_validated",relax="approved",'
        'screening="approved",torsion="not_validated",version="1"} 1.0',
    ):
        assert line in text
    for phase in ("queue", "graph", "inference", "serialise"):
        labels = {"phase": phase, "size_class": "1"}
        assert registry.get_sample_value("forcegate_phase_seconds_count", labels) == 1


async def test_the_openapi_document_describes_both_forms_and_the_problems(
    client: httpx.AsyncClient,
) -> None:
    document = (await client.get("/openapi.json")).json()
    predict = document["paths"]["/v1/predict"]["post"]
    forms = {"application/json", "application/msgpack"}
    assert set(predict["requestBody"]["content"]) == {*forms, "chemical/x-xyz"}
    assert set(predict["responses"]["200"]["content"]) == forms
    for status in ("400", "404", "406", "413", "415", "422", "500", "503"):
        assert "application/problem+json" in predict["responses"][status]["content"]
    text = str(document)
    schemas = document["components"]["schemas"]
    assert {"PredictBody", "StructureBody", "PredictAnswer", "Problem"} <= set(schemas)
    for name in text.split("#/components/schemas/")[1:]:
        assert name.split("'")[0] in schemas
    assert (await client.get("/docs")).status_code == 200


async def test_every_response_carries_a_request_id(client: httpx.AsyncClient) -> None:
    ids = {(await client.get(path)).headers["x-request-id"] for path in ("/health/live", "/nope")}
    assert len(ids) == 2
    given = await client.get("/health/live", headers={"x-request-id": "run-7.a"})
    assert given.headers["x-request-id"] == "run-7.a"
    forged = await client.get("/health/live", headers={"x-request-id": "a b\tc" * 30})
    assert forged.headers["x-request-id"] != "a b\tc" * 30


class _BrokenOutput(FakeRuntime):
    """Answers for one structure too few, which no check of ours expects."""

    broken = False

    def evaluate(self, graph: Graph) -> ModelOutput:
        output = super().evaluate(graph)
        return output._replace(energy=output.energy[:-1]) if self.broken else output


async def test_a_defect_is_a_500_without_its_inside_and_the_process_lives(
    settings: Settings, request_body: dict[str, Any]
) -> None:
    runtimes: list[_BrokenOutput] = []

    def load(folder: Path) -> FakeRuntime:
        runtimes.append(_BrokenOutput(load_fake(folder).card))
        return runtimes[-1]

    async with gateway_client(settings, load) as client:
        runtimes[0].broken = True
        response = await client.post("/v1/predict", json=request_body)
        assert response.status_code == 500
        assert response.json()["code"] == "server_fault"
        assert "Traceback" not in response.text
        assert ".py" not in response.text
        assert response.headers["x-request-id"]
        runtimes[0].broken = False
        assert (await client.post("/v1/predict", json=request_body)).status_code == 200
