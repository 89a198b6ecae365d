"""The process itself: what it was built from, what it uses."""

from __future__ import annotations

import platform
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge, GCCollector, ProcessCollector

__all__ = ["watch_process"]


def watch_process(registry: CollectorRegistry) -> None:
    """Export the build, and what the operating system and the interpreter know of the process."""
    build = Gauge(
        "forcegate_build_info",
        "Always 1; the labels name the version of forcegate and of Python.",
        ["version", "python"],
        registry=registry,
    )
    build.labels(version("forcegate"), platform.python_version()).set(1)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
