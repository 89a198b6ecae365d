"""The observers of a gateway, as its settings want them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from forcegate_service.settings import Settings
from forcegate_service.watch.capture.metrics import CaptureMetrics
from forcegate_service.watch.novelty.watch import NoveltyWatch
from forcegate_service.watch.observer import Observer
from forcegate_service.watch.shadow.metrics import ShadowMetrics
from forcegate_service.watch.shadow.shadow import Shadow
from forcegate_service.watch.shadow.spool import Spool

if TYPE_CHECKING:
    from forcegate_service.watch.capture.capture import Capture

__all__ = ["make_observers"]


def make_observers(settings: Settings, registry: CollectorRegistry) -> list[Observer]:
    """One of each kind; their metrics go to ``registry``."""
    return [NoveltyWatch(settings, registry), *_shadow_and_capture(settings, registry)]


def _shadow_and_capture(settings: Settings, registry: CollectorRegistry) -> list[Observer]:
    # Their metrics are there even if they are not, so that the names are known.
    shadow_metrics, capture_metrics = ShadowMetrics(registry), CaptureMetrics(registry)
    observers: list[Observer] = []
    capture = None
    if settings.capture_dir is not None:
        capture = _capture(settings, capture_metrics, settings.capture_dir)
        observers.append(capture)
    if settings.shadow_fraction and settings.shadow_dir is not None:
        observers.append(_shadow(settings, shadow_metrics, settings.shadow_dir, capture))
    # What the teacher says may be captured, so the one who hears of it ends last.
    return observers[::-1]


def _capture(settings: Settings, metrics: CaptureMetrics, folder: Path) -> Capture:
    # Imported here because they bring HDF5, which nobody else needs.
    from forcegate_service.watch.capture.capture import Capture, Thresholds
    from forcegate_service.watch.capture.store import CaptureStore

    store = CaptureStore(folder, settings.capture_max_structures, settings.capture_max_bytes)
    thresholds = Thresholds(
        novelty=settings.capture_novelty,
        uncertainty=settings.capture_uncertainty,
        force_rmse=settings.capture_force_rmse,
    )
    return Capture(store, metrics, thresholds)


def _shadow(
    settings: Settings, metrics: ShadowMetrics, folder: Path, capture: Capture | None
) -> Shadow:
    spool = Spool(folder, settings.shadow_max_files, settings.shadow_max_bytes)
    shadow = Shadow(
        spool, metrics, fraction=settings.shadow_fraction, max_atoms=settings.shadow_max_atoms
    )
    if capture is not None:
        shadow.compared = capture.compared
    return shadow
