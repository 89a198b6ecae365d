"""Times are counted together, and read as if each had been counted when it was told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from forcegate_service.watch.metrics.bulk_histogram import BulkHistogram
from forcegate_service.watch.metrics.requests import LATENCY_BUCKETS_S


@given(st.lists(st.sampled_from([*LATENCY_BUCKETS_S, 0.0, 1e-4, 0.3, 99.0]), max_size=600))
def test_times_that_are_counted_together_read_as_if_each_had_been_counted(
    times: list[float],
) -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    mine = BulkHistogram("wait_seconds", "Waits.", ["phase"], LATENCY_BUCKETS_S, one)
    known = Histogram(
        "wait_seconds", "Waits.", ["phase"], buckets=LATENCY_BUCKETS_S, registry=other
    )
    for number, time in enumerate(times):
        phase = ("queue", "graph")[number % 2]
        mine.observe((phase,), time)
        known.labels(phase).observe(time)

    def read(registry: CollectorRegistry) -> dict[str, float]:
        lines = generate_latest(registry).decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {name: float(value) for name, value in pairs if "_created" not in name}

    told, expected = read(one), read(other)
    assert told.keys() == expected.keys()
    assert told == pytest.approx(expected)
    # Nothing is counted twice by whoever reads again.
    assert read(one) == told
