"""The observers of a gateway, as its settings want them."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from forcegate_service.monitoring.observer import Observer
from forcegate_service.monitoring.shadow import Shadow
from forcegate_service.monitoring.shadow_metrics import ShadowMetrics
from forcegate_service.monitoring.spool import Spool
from forcegate_service.settings import Settings

__all__ = ["make_observers"]


def make_observers(settings: Settings, registry: CollectorRegistry) -> list[Observer]:
    """One of each kind; their metrics go to ``registry``."""
    observers: list[Observer] = []
    shadow_metrics = ShadowMetrics(registry)
    if settings.shadow_fraction and settings.shadow_dir is not None:
        observers.append(_shadow(settings, shadow_metrics, settings.shadow_dir))
    return observers


def _shadow(settings: Settings, metrics: ShadowMetrics, folder: Path) -> Shadow:
    spool = Spool(folder, settings.shadow_max_files, settings.shadow_max_bytes)
    return Shadow(
        spool,
        metrics,
        fraction=settings.shadow_fraction,
        max_atoms=settings.shadow_max_atoms,
    )
