"""``POST /v1/md/reports``: what is counted, and that nothing wrong or hostile is."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from forcegate_client.errors import TooManyRequests
from forcegate_client.md.blow_up import BLOW_UPS
from forcegate_client.md.ensemble import Ensemble
from forcegate_client.testing import FakeClock
from forcegate_service.api.access.keyfile import create_key
from forcegate_service.api.app import create_app
from forcegate_service.api.problems import PROBLEM_TYPE
from forcegate_service.contract.card import ModelCard
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client, in_process
from forcegate_service.watch.md_runs.report import MDReportBody
from forcegate_service.watch.md_runs.reports import (
    BURST_TOKENS,
    MOST_CALLERS,
    NEW_RUN_TOKENS,
    MDReports,
)
from forcegate_service.watch.md_runs.runs import (
    FORGOTTEN_AFTER_S,
    MOST_RUNS,
    MDRuns,
    Run,
    RunIdentity,
)
from forcegate_service.watch.md_runs.token_bucket import TokenBuckets

pytestmark = pytest.mark.anyio

PATH = "/v1/md/reports"
FAKE = {"model": "fake", "version": "1"}
# 0.5 with an error of 0.01 shows a drift beyond 0.1; 0.01 does not.
DRIFTING = {
    "drift_mev_per_atom_per_ps": -0.5,
    "drift_standard_error_mev_per_atom_per_ps": 0.01,
}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def client(settings: Settings, registry: CollectorRegistry) -> AsyncIterator[Any]:
    async with gateway_client(settings, metrics_registry=registry) as client:
        yield client


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return write_fake_model(tmp_path / "again")


@pytest.fixture
def good(card: ModelCard) -> dict[str, Any]:
    return report_of(card)


def report_of(card: ModelCard, **changes: Any) -> dict[str, Any]:
    report = {
        "run": "00112233445566778899aabbccddeeff",
        "sequence": 0,
        "model": card.name,
        "version": card.version,
        "digest": card.digest,
        "ensemble": "nve",
        "timestep_fs": 0.5,
        "n_atoms": 21,
        "duration_ps": 12.5,
        "target_temperature_k": 300.0,
        "mean_temperature_k": 280.0,
        "temperature_sigma_k": 40.0,
        "drift_mev_per_atom_per_ps": -0.01,
        "drift_standard_error_mev_per_atom_per_ps": 0.002,
        "final": False,
        "blow_up": None,
    }
    return report | changes


def counts(registry: CollectorRegistry, outcome: str, **labels: str) -> float:
    found = registry.get_sample_value(
        "forcegate_md_reports_total", {**(labels or FAKE), "outcome": outcome}
    )
    return found or 0.0


def figures(registry: CollectorRegistry) -> dict[str, float]:
    """Every figure about runs but the number of reports; only those that are not zero."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for metric in registry.collect()
        if metric.name.startswith("forcegate_md_") and metric.name != "forcegate_md_reports"
        for sample in metric.samples
        if sample.value and not sample.name.endswith("_created")
    }


async def test_a_report_is_counted_and_its_run_when_it_is_over(
    client: httpx.AsyncClient, registry: CollectorRegistry, good: dict[str, Any]
) -> None:
    response = await client.post(PATH, json=good)
    assert (response.status_code, response.content) == (204, b"")
    value = registry.get_sample_value
    assert counts(registry, "accepted") == 1
    assert value("forcegate_md_judged_reports_total", FAKE) == 1
    assert value("forcegate_md_drifting_reports_total", FAKE) == 0
    assert value("forcegate_md_runs") == 1
    nve = FAKE | {"ensemble": "nve"}
    assert value("forcegate_md_drift_mev_per_atom_per_ps_count", nve) is None

    # The histograms take the newest figures of a run, once.
    last = good | DRIFTING | {"sequence": 1, "final": True, "mean_temperature_k": 340.0}
    assert (await client.post(PATH, json=last)).status_code == 204
    assert (await client.post(PATH, json=last | {"sequence": 2})).status_code == 204
    assert value("forcegate_md_drift_mev_per_atom_per_ps_count", nve) == 1
    assert value("forcegate_md_drift_mev_per_atom_per_ps_sum", nve) == 0.5
    assert value("forcegate_md_temperature_error_sigmas_sum", nve) == 1.0
    assert value("forcegate_md_drifting_reports_total", FAKE) == 1
    assert value("forcegate_md_runs") == 0


@pytest.mark.parametrize("reason", BLOW_UPS)
async def test_a_run_that_blew_up_counts_once(
    reason: str, client: httpx.AsyncClient, registry: CollectorRegistry, good: dict[str, Any]
) -> None:
    for sequence in range(3):
        report = good | {"sequence": sequence, "blow_up": reason}
        assert (await client.post(PATH, json=report)).status_code == 204
    labels = FAKE | {"reason": reason}
    assert registry.get_sample_value("forcegate_md_blow_ups_total", labels) == 1


async def test_a_thermostat_that_conserves_nothing_is_judged_by_its_temperature_alone(
    client: httpx.AsyncClient, registry: CollectorRegistry, good: dict[str, Any]
) -> None:
    report = good | dict.fromkeys(DRIFTING) | {"ensemble": "nvt", "final": True}
    assert (await client.post(PATH, json=report)).status_code == 204
    nvt = FAKE | {"ensemble": "nvt"}
    assert registry.get_sample_value("forcegate_md_temperature_error_sigmas_count", nvt) == 1
    assert registry.get_sample_value("forcegate_md_drift_mev_per_atom_per_ps_count", nvt) is None
    assert registry.get_sample_value("forcegate_md_judged_reports_total", FAKE) is None


async def test_what_was_seen_or_overtaken_is_answered_alike_and_changes_nothing(
    client: httpx.AsyncClient, registry: CollectorRegistry, good: dict[str, Any]
) -> None:
    await client.post(PATH, json=good | {"sequence": 5})
    before = figures(registry)
    for sequence in (5, 4, 0):
        old = good | DRIFTING | {"sequence": sequence, "blow_up": "energy", "final": True}
        assert (await client.post(PATH, json=old)).status_code == 204
    assert figures(registry) == before
    assert counts(registry, "replayed") == 3


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"duration_ps": float("nan")}, 422, "value_out_of_range"),
    ({"drift_mev_per_atom_per_ps": float("inf")}, 422, "value_out_of_range"),
    ({"drift_mev_per_atom_per_ps": -1e7}, 422, "value_out_of_range"),
    ({"n_atoms": 10**400}, 422, "value_out_of_range"),
    ({"n_atoms": 0}, 422, "value_out_of_range"),
    ({"timestep_fs": 0.0}, 422, "value_out_of_range"),
    ({"run": "0" * 31}, 422, "value_out_of_range"),
    ({"run": "0" * 4000}, 413, "body_too_large"),
    ({"run": "0" * 3000}, 422, "value_out_of_range"),
    ({"run": "00112233445566778899AABBCCDDEEFF"}, 422, "value_out_of_range"),
    ({"sequence": -1}, 422, "value_out_of_range"),
    ({"sequence": 1.5}, 422, "type_mismatch"),
    ({"sequence": True}, 422, "type_mismatch"),
    ({"n_atoms": "21"}, 422, "type_mismatch"),
    ({"final": 1}, 422, "type_mismatch"),
    ({"ensemble": "nph"}, 422, "value_out_of_range"),
    ({"blow_up": "boredom"}, 422, "value_out_of_range"),
    ({"note": "hello"}, 422, "field_unknown"),
    ({"drift_standard_error_mev_per_atom_per_ps": None}, 422, "report_contradictory"),
    ({"temperature_sigma_k": None}, 422, "report_contradictory"),
    ({"ensemble": "other"}, 422, "report_contradictory"),
    ({"digest": "sha256:" + "0" * 64}, 422, "digest_mismatch"),
    ({"digest": "sha256:one"}, 422, "value_out_of_range"),
    ({"model": "painn_other"}, 404, "model_not_found"),
    ({"version": "9"}, 404, "version_not_found"),
]


@pytest.mark.parametrize(("changes", "status", "code"), BAD)
async def test_a_wrong_report_says_what_is_wrong_and_is_counted_as_refused_alone(
    changes: dict[str, Any],
    status: int,
    code: str,
    client: httpx.AsyncClient,
    registry: CollectorRegistry,
    good: dict[str, Any],
) -> None:
    body = json.dumps(good | DRIFTING | {"blow_up": "bond", "final": True} | changes)
    response = await client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert response.headers["content-type"] == PROBLEM_TYPE
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert len(response.content) < 2000
    assert figures(registry) == {}
    assert counts(registry, "refused", model="none", version="none") == 1


@pytest.mark.parametrize("field", MDReportBody.model_fields)
async def test_no_field_may_be_left_out(
    field: str, client: httpx.AsyncClient, good: dict[str, Any]
) -> None:
    del good[field]
    response = await client.post(PATH, json=good)
    assert (response.status_code, response.json()["code"]) == (422, "field_missing")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"run": ', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 4000, "application/json", 400),
        (b"{}", "application/msgpack", 415),
        (b"{}", "text/plain", 415),
        (b" " * 4097, "application/json", 413),
    ],
)
async def test_what_is_no_report_is_refused(
    body: bytes, kind: str, status: int, client: httpx.AsyncClient, registry: CollectorRegistry
) -> None:
    response = await client.post(PATH, content=body, headers={"Content-Type": kind})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM_TYPE
    assert counts(registry, "refused", model="none", version="none") == 1


async def test_a_run_does_not_change_what_it_is(
    client: httpx.AsyncClient, registry: CollectorRegistry, good: dict[str, Any]
) -> None:
    await client.post(PATH, json=good)
    before = figures(registry)
    changed = await client.post(PATH, json=good | DRIFTING | {"sequence": 1, "ensemble": "nvt"})
    assert (changed.status_code, changed.json()["code"]) == (422, "run_changed")
    assert figures(registry) == before


async def test_keys_need_the_scope_and_runs_belong_to_their_key(
    settings: Settings, tmp_path: Path, registry: CollectorRegistry, good: dict[str, Any]
) -> None:
    keys_file = tmp_path / "keys.json"
    ada, bob, predictor = (
        {"Authorization": f"Bearer {create_key(keys_file, name, scopes)}"}
        for name, scopes in (("a", ["report"]), ("b", ["report"]), ("c", ["predict"]))
    )
    limited = settings.model_copy(update={"keys_file": keys_file})
    async with gateway_client(limited, metrics_registry=registry) as client:
        assert (await client.post(PATH, json=good)).status_code == 401
        refused = await client.post(PATH, json=good, headers=predictor)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert figures(registry) == {}
        for key in (ada, bob):
            assert (await client.post(PATH, json=good, headers=key)).status_code == 204
    # The same id from another key is another run, which nobody can spoil.
    assert counts(registry, "accepted") == 2


async def test_a_flood_of_runs_is_told_to_stop_and_leaves_a_bounded_mark(
    client: httpx.AsyncClient, registry: CollectorRegistry, good: dict[str, Any]
) -> None:
    answers = [
        await client.post(PATH, json=good | DRIFTING | {"run": f"{number:032x}", "final": True})
        for number in range(300)
    ]
    refused = next(answer for answer in answers if answer.status_code == 429)
    problem = refused.json()
    assert problem["code"] == "too_many_reports"
    assert problem["retry_after_s"] > 0.0
    accepted = counts(registry, "accepted")
    assert accepted + counts(registry, "limited") == 300
    assert accepted < 300


@pytest.mark.parametrize("callers", [1, 40])
def test_twenty_thousand_runs_leave_bounded_memory_and_counts(
    callers: int, card: ModelCard, registry: CollectorRegistry
) -> None:
    clock = FakeClock()
    reports = MDReports(registry, clock)
    accepted = 0
    for number in range(20_000):
        body = json.dumps(report_of(card, run=f"{number:032x}", **DRIFTING)).encode()
        try:
            reports.take(body, f"caller {number % callers}", lambda model, version: card)
        except TooManyRequests:
            continue
        accepted += 1
    assert accepted == min(callers * BURST_TOKENS / NEW_RUN_TOKENS, 20_000)
    assert counts(registry, "accepted") == accepted
    assert len(reports) == min(accepted, MOST_RUNS)
    assert sum(map(len, (reports._runs._callers, reports._buckets._levels))) == 2 * callers
    run = reports._runs.find("caller 0", f"{0:032x}") or next(
        iter(reports._runs._callers["caller 0"].values())
    )
    assert sys.getsizeof(run) + sys.getsizeof(run.identity) < 200
    # Of the runs that had to go the last word is counted, of the others nothing yet.
    nve = FAKE | {"ensemble": "nve"}
    name = "forcegate_md_drift_mev_per_atom_per_ps_count"
    assert (registry.get_sample_value(name, nve) or 0) == accepted - len(reports)
    clock.sleep(2 * FORGOTTEN_AFTER_S)
    assert registry.get_sample_value("forcegate_md_runs") == 0
    assert len(reports) == 0
    assert registry.get_sample_value(name, nve) == accepted


def test_a_flood_pushes_out_its_own_runs_and_no_others(card: ModelCard) -> None:
    settled: list[Run] = []
    runs = MDRuns(settled.append, most_runs=100)
    identity = RunIdentity("fake", "1", "nve")
    runs.add("quiet", "ab" * 16, Run(identity, 0, 0.0))
    for number in range(1000):
        runs.add("loud", f"{number:032x}", Run(identity, 0, 0.0))
    assert len(runs) == 100
    assert runs.find("quiet", "ab" * 16) is not None
    assert len(settled) == 901


def test_a_run_that_reports_all_the_time_is_judged_now_and_then(
    card: ModelCard, registry: CollectorRegistry
) -> None:
    clock = FakeClock()
    reports = MDReports(registry, clock)
    for sequence in range(100):
        body = json.dumps(report_of(card, sequence=sequence)).encode()
        reports.take(body, "somebody", lambda model, version: card)
        clock.sleep(0.5)
    assert registry.get_sample_value("forcegate_md_judged_reports_total", FAKE) == 5


def test_a_short_run_is_not_judged(card: ModelCard, registry: CollectorRegistry) -> None:
    body = json.dumps(report_of(card, duration_ps=1.5, **DRIFTING)).encode()
    MDReports(registry).take(body, "somebody", lambda model, version: card)
    assert counts(registry, "accepted") == 1
    assert registry.get_sample_value("forcegate_md_judged_reports_total", FAKE) is None


def test_tokens_come_back_with_time_and_callers_are_forgotten() -> None:
    clock = FakeClock()
    buckets = TokenBuckets(per_s=2.0, burst=10.0, most_callers=50, clock=clock)
    assert [buckets.missing_s("a", 5.0) for _ in range(3)] == [0.0, 0.0, 2.5]
    clock.sleep(2.5)
    assert buckets.missing_s("a", 5.0) == 0.0
    for number in range(1000):
        buckets.missing_s(str(number), 1.0)
    assert len(buckets) == 50
    assert MOST_CALLERS < 10_000


async def test_before_models_are_loaded_and_without_them_nothing_is_counted(
    settings: Settings, good: dict[str, Any]
) -> None:
    async with in_process(create_app(settings)) as (client, gateway):
        assert gateway.loading is not None
        await gateway.loading
        gateway.ready = False
        response = await client.post(PATH, json=good)
        gateway.ready = True
    assert (response.status_code, response.json()["code"]) == (503, "not_ready")


async def test_the_document_describes_a_report(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"][PATH]["post"]
    content = operation["requestBody"]["content"]
    assert content == {
        "application/json": {"schema": {"$ref": "#/components/schemas/MDReportBody"}}
    }
    assert {"204", "400", "401", "403", "404", "413", "415", "422", "429"} <= set(
        operation["responses"]
    )
    schema = document["components"]["schemas"]["MDReportBody"]
    assert set(schema["required"]) == set(MDReportBody.model_fields)


def test_client_and_service_know_the_same_ensembles() -> None:
    field = MDReportBody.model_json_schema()["properties"]["ensemble"]
    assert field["enum"] == [ensemble.value for ensemble in Ensemble]
