"""The observers of a gateway, as its settings want them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from forcegate_service.monitoring.novelty_watch import NoveltyWatch
from forcegate_service.monitoring.observer import Observer
from forcegate_service.settings import Settings

__all__ = ["make_observers"]


def make_observers(settings: Settings, registry: CollectorRegistry) -> list[Observer]:
    """One of each kind; their metrics go to ``registry``."""
    return [NoveltyWatch(settings, registry)]
