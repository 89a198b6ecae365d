"""Connections: how many, and how many had to go or never came in."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["ConnectionMetrics"]

_REASONS = ("address", "total")


class ConnectionMetrics:
    """Counted where connections come and go; no address is a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._open = Gauge("forcegate_connections", "Connections that are open.", registry=registry)
        self._evicted = Counter(
            "forcegate_connections_evicted_total",
            "Idle connections that were closed to make room, by the limit that was reached: that "
            "of an address or the total.",
            ["limit"],
            registry=registry,
        )
        self._refused = Counter(
            "forcegate_connections_refused_total",
            "Connections that were refused because no idle one could make room, by the limit that "
            "was reached: that of an address or the total.",
            ["limit"],
            registry=registry,
        )
        for reason in _REASONS:
            self._evicted.labels(reason)
            self._refused.labels(reason)

    def watch(self, number: Callable[[], int]) -> None:
        """Ask for the open ones whenever metrics are read."""
        self._open.set_function(number)

    def evicted(self, limit: str) -> None:
        """One was closed for another."""
        self._evicted.labels(limit).inc()

    def refused(self, limit: str) -> None:
        """One could not come in."""
        self._refused.labels(limit).inc()
