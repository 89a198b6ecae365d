"""Every metric that a gateway can export, for the documents and rules that name them."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric

from forcegate_service.metrics import Metrics
from forcegate_service.monitoring.assembly import make_observers
from forcegate_service.settings import Settings

__all__ = ["MetricDescription", "catalogue"]

# What a type appends to the name under which a metric is described.
_SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "gauge": ("",),
}


@dataclass(frozen=True)
class MetricDescription:
    """One metric: ``name`` as it is described, ``samples`` as it is asked for."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def samples(self) -> tuple[str, ...]:
        """The names of its time series."""
        return tuple(self.name + suffix for suffix in _SUFFIXES[self.kind])


def catalogue() -> list[MetricDescription]:
    """All metrics by name: those of ours, then those of the process.

    Whoever writes another class of metrics makes one of it here, unless an observer has it.
    """
    registry = CollectorRegistry()
    Metrics(registry)
    # As if nobody had set anything; no model or folder is looked at.
    for observer in make_observers(Settings.model_construct(), registry):
        observer.close()
    found = [
        MetricDescription(
            family.name,
            family.type,
            # The only place where the labels of a metric without samples are written.
            tuple(getattr(collector, "_labelnames", ())) or _labels_of(family),
            family.documentation,
        )
        for collector in list(registry._collector_to_names)
        for family in collector.collect()
    ]
    return sorted(found, key=lambda item: (not item.name.startswith("forcegate_"), item.name))


def _labels_of(family: Metric) -> tuple[str, ...]:
    names = {name for sample in family.samples for name in sample.labels}
    return tuple(sorted(names - {"le"}))
