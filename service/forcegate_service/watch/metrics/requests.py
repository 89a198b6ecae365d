"""Requests: how many, how long they took, why they were refused or given up."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter

from forcegate_service.watch.metrics.bulk_histogram import BulkHistogram
from forcegate_service.watch.metrics.problem_codes import counted_code

__all__ = [
    "LATENCY_BUCKETS_S",
    "SIZE_CLASSES",
    "RequestMetrics",
    "RequestRecord",
    "current_record",
    "note_digest",
    "note_problem",
    "note_structures",
    "size_class",
]

# From a step of dynamics on a toy to the longest batch of requests that anybody waits for.
LATENCY_BUCKETS_S = (
    *(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
_ONE, _FEW, _MANY, _NONE = SIZE_CLASSES = ("1", "2-32", "33+", "none")
_FEW_AT_MOST = 32


@dataclass(slots=True)
class RequestRecord:
    """``structures`` once they are read; ``problem`` is the code of the answer if it is one.

    ``digest`` is the value of ``X-Request-Digest``, once the whole body is there.

    It is made where a request comes in and filled in further inside, in whatever task or thread.
    """

    structures: int | None = None
    problem: str | None = None
    digest: bytes | None = None


_UNKNOWN = RequestRecord()
current_record: ContextVar[RequestRecord | None] = ContextVar("current_record", default=None)


def note_structures(number: int) -> None:
    """The request that is being answered holds so many."""
    record = current_record.get()
    if record is not None:
        record.structures = number


def note_digest(sha256_hex: str) -> None:
    """The whole body of the request that is being answered is there, and hashes to this."""
    record = current_record.get()
    if record is not None:
        record.digest = b"sha256:" + sha256_hex.encode("ascii")


def note_problem(code: str) -> None:
    """The request that is being answered gets a problem document."""
    record = current_record.get()
    if record is not None:
        record.problem = code


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


def size_class(structures: int | None) -> str:
    """The class of a request with so many structures; None is one that was never read so far."""
    if not structures:
        return _NONE
    if structures == 1:
        return _ONE
    return _FEW if structures <= _FEW_AT_MOST else _MANY
