"""``docs/metrics.md``, written from the metrics themselves."""

from __future__ import annotations

from collections.abc import Iterable

from forcegate_service.watch.catalogue import MetricDescription

__all__ = ["document"]

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
