"""Every metric that a gateway can export, for the documents and rules that name them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Metric

from forcegate_service.settings import Settings
from forcegate_service.watch.assembly import make_observers
from forcegate_service.watch.md_runs.metrics import MDMetrics
from forcegate_service.watch.metrics.metrics import Metrics
from forcegate_service.watch.metrics.runs import RunMetrics

__all__ = ["MetricDescription", "catalogue", "document"]

# What a type appends to the name under which a metric is described.
_SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "gauge": ("",),
}
_HEAD = (
    "# Metrics\n\n"
    "What `GET /metrics` exports, in the text format of Prometheus. This page is written by "
    "`forcegate-serve metrics`; what is to be changed here is changed in the code.\n\n"
    "A series appears with the first thing that it counts, unless its labels are known before. "
    "No label ever carries what a caller wrote: routes are templates, codes and reasons are closed "
    "lists, models and versions are those that are served. `_total` marks counters, which start "
    "again at 0 with the process: ask for their `rate` or `increase`. Histograms have `_bucket`, "
    "`_sum` and `_count`. What to do when they look bad is in [runbook.md](runbook.md).\n"
)


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
    MDMetrics(registry)
    RunMetrics(registry)
    # As if nobody had set anything; no model or folder is looked at.
    for observer in make_observers(Settings.model_construct(), registry):
        observer.close()
    found = [
        MetricDescription(
            family.name,
            family.type,
            _labels_of(collector, family),
            family.documentation,
        )
        for collector in list(registry._collector_to_names)
        for family in _families_of(collector)
    ]
    return sorted(found, key=lambda item: (not item.name.startswith("forcegate_"), item.name))


def _families_of(collector: Any) -> Iterable[Metric]:
    """Those that it has at all, whether or not there is something to tell."""
    describe = getattr(collector, "describe", None)
    found: Iterable[Metric] = collector.collect() if describe is None else describe()
    return found


def _labels_of(collector: Any, family: Metric) -> tuple[str, ...]:
    # The only places where the labels of a metric without samples are written.
    for owner in (collector, family):
        named: Iterable[str] = getattr(owner, "_labelnames", ())
        if named:
            return tuple(named)
    names = {name for sample in family.samples for name in sample.labels}
    return tuple(sorted(names - {"le"}))


def document(metrics: Iterable[MetricDescription]) -> str:
    """The page, in Markdown."""
    every = list(metrics)
    own = [metric for metric in every if metric.name.startswith("forcegate_")]
    process = [metric for metric in every if metric not in own]
    return "\n".join(
        [_HEAD, *_table(own), "\n## The process\n", *_table(process), ""],
    )


def _table(metrics: Iterable[MetricDescription]) -> list[str]:
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in metrics:
        name = metric.samples[0] if metric.kind == "counter" else metric.name
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{name}` | {metric.kind} | {labels} | {metric.meaning} |")
    return rows
