"""Requests: how many, how long they took, why they were refused or given up."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from forcegate_service.watch.metrics.bulk_histogram import BulkHistogram
from forcegate_service.watch.metrics.problem_codes import counted_code
from forcegate_service.watch.metrics.request_record import RequestRecord
from forcegate_service.watch.metrics.sizes import LATENCY_BUCKETS_S, size_class

__all__ = ["RequestMetrics"]

_UNKNOWN = RequestRecord()


class RequestMetrics:
    """Labels are templates of routes, classes and codes of our own: nothing that a caller writes.

    The children that a request counts in are kept here: looking one up by its labels costs more
    than counting.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "forcegate_requests_total",
            "HTTP requests answered, by route template and status code.",
            ["route", "code"],
            registry=registry,
        )
        self._durations = BulkHistogram(
            "forcegate_request_duration_seconds",
            "Time from a request's head to the end of its answer, by route template, class of "
            "the status code and number of structures (1, 2-32, 33+; none if they were not read).",
            ["route", "code_class", "size_class"],
            LATENCY_BUCKETS_S,
            registry,
        )
        self._rejected = Counter(
            "forcegate_rejected_requests_total",
            "Requests answered with a problem document, by its code.",
            ["code"],
            registry=registry,
        )
        self._cancelled = Counter(
            "forcegate_cancelled_total",
            "Requests given up before they were answered, by reason: disconnect or deadline.",
            ["reason"],
            registry=registry,
        )
        self._of_answer: dict[tuple[str, int, str], tuple[Counter, tuple[str, ...]]] = {}

    def answered(
        self, route: str, status: int, duration_s: float, record: RequestRecord | None
    ) -> None:
        """Count one answered request."""
        known = record or _UNKNOWN
        key = route, status, size_class(known.structures)
        children = self._of_answer.get(key)
        if children is None:
            children = self._of_answer[key] = (
                self._requests.labels(route, str(status)),
                (route, f"{status // 100}xx", key[2]),
            )
        counter, labels = children
        counter.inc()
        self._durations.observe(labels, duration_s)
        if known.problem is not None:
            self._rejected.labels(counted_code(known.problem)).inc()

    def cancelled(self, reason: str) -> None:
        """Count a request that was given up."""
        self._cancelled.labels(reason).inc()
