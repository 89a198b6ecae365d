"""A result counts once, for a structure that was asked about, and only if it can be true."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from forcegate_client.errors import ForcegateError
from forcegate_service.watch.shadow.metrics import WINDOW, ShadowMetrics
from forcegate_service.watch.shadow.outstanding import Outstanding, Question
from forcegate_service.watch.shadow.results import LabelledStructure, read_results

ID = "0123456789abcdef" * 2


def result(**changes: Any) -> dict[str, Any]:
    good = {
        "id": ID, "n_atoms": 3, "force_absolute_sum": 0.9, "force_squared_sum": 0.09,
        "energy_error_ev": -0.03,
    }  # fmt: skip
    return good | changes


def body(*results: dict[str, Any]) -> bytes:
    return json.dumps({"results": list(results), "skipped": []}).encode()


def question(n_atoms: int = 3) -> Question:
    return Question("m", "1", "d", np.ones(n_atoms, dtype=np.int64), np.zeros((n_atoms, 3)))


def test_a_good_result_is_read() -> None:
    (read,) = read_results(body(result())).results
    assert read.consistent
    assert read.force_rmse == pytest.approx(0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"force_squared_sum": math.nan}, {"force_squared_sum": math.inf},
        {"force_squared_sum": -1.0}, {"force_squared_sum": 1e300}, {"force_absolute_sum": "0.9"},
        {"energy_error_ev": math.nan}, {"energy_error_ev": -1e300}, {"energy_error_ev": True},
        {"n_atoms": 0}, {"n_atoms": 3.5}, {"n_atoms": 10**30}, {"id": "short"}, {"id": ID.upper()},
        {"model": "painn_base"},
    ],
    ids=str,
)  # fmt: skip
def test_nonsense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ForcegateError) as caught:
        read_results(body(result(**changes)))
    assert caught.value.status == 422


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"null", b"\xff", b"[" * 10])
def test_what_is_no_object_is_malformed(text: bytes) -> None:
    with pytest.raises(ForcegateError) as caught:
        read_results(text)
    assert (caught.value.status, caught.value.code) == (400, "malformed_body")


def test_more_brackets_than_results_have_are_refused_before_they_are_read() -> None:
    with pytest.raises(ForcegateError) as caught:
        read_results(b"[" * 10_000)
    assert (caught.value.status, caught.value.code) == (413, "too_many_values")


@pytest.mark.parametrize(
    ("absolute", "squared"), [(0.9, 0.0), (0.0, 0.09), (0.9, 1.0), (0.9, 0.01)]
)
def test_sums_that_no_components_have_are_recognised(absolute: float, squared: float) -> None:
    changes = {"force_absolute_sum": absolute, "force_squared_sum": squared}
    (read,) = read_results(body(result(**changes))).results
    assert not read.consistent


def test_an_id_is_answered_once_and_only_with_its_number_of_atoms() -> None:
    table = Outstanding(limit=10)
    table.add("a", question())
    assert table.answer("b", 3) is None
    assert table.answer("a", 4) is None
    assert table.answer("a", 3) is not None
    assert table.answer("a", 3) is None


def test_the_table_forgets_the_oldest_and_stays_bounded() -> None:
    table = Outstanding(limit=10)
    for number in range(1000):
        table.add(str(number), question())
    assert len(table) == 10
    assert table.answer("989") is None
    assert table.answer("990") is not None


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """Values by name, of everything that has the labels of version 1."""
    return {
        sample.name: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.labels == {"model": "m", "version": "1"} and not sample.name.endswith("_created")
    }


def test_gauges_are_absent_until_there_is_a_result() -> None:
    registry = CollectorRegistry()
    metrics = ShadowMetrics(registry)
    metrics.spooled("m", "1", 2)
    assert samples(registry) == {"forcegate_shadow_spooled_total": 2.0}
    # Their names are known all the same.
    assert b"# TYPE forcegate_shadow_force_rmse_ev_per_angstrom gauge" in generate_latest(registry)


def test_gauges_are_those_of_all_components_of_the_window() -> None:
    registry = CollectorRegistry()
    metrics = ShadowMetrics(registry)
    rng = np.random.default_rng(0)
    errors = [rng.normal(size=(n, 3)) for n in (2, 5)]
    for error in errors:
        metrics.result("m", "1", LabelledStructure(
            id=ID, n_atoms=len(error), force_absolute_sum=float(np.abs(error).sum()),
            force_squared_sum=float((error**2).sum()), energy_error_ev=-0.01 * len(error),
        ))  # fmt: skip
    pooled = np.concatenate(errors)
    found = samples(registry)
    rmse, mae = math.sqrt((pooled**2).mean()), np.abs(pooled).mean()
    assert found["forcegate_shadow_force_rmse_ev_per_angstrom"] == pytest.approx(rmse)
    assert found["forcegate_shadow_force_mae_ev_per_angstrom"] == pytest.approx(mae)
    assert found["forcegate_shadow_energy_mae_mev_per_atom"] == pytest.approx(10.0)
    assert found["forcegate_shadow_structures_total"] == 2.0


def test_what_is_older_than_the_window_is_forgotten() -> None:
    registry = CollectorRegistry()
    metrics = ShadowMetrics(registry)
    (bad,) = read_results(body(result(force_absolute_sum=900.0, force_squared_sum=9e4))).results
    (good,) = read_results(body(result())).results
    metrics.result("m", "1", bad)
    for _ in range(WINDOW):
        metrics.result("m", "1", good)
    found = samples(registry)
    assert found["forcegate_shadow_force_rmse_ev_per_angstrom"] == pytest.approx(0.1)
    assert found["forcegate_shadow_window_structures"] == WINDOW
    assert found["forcegate_shadow_structures_total"] == WINDOW + 1
