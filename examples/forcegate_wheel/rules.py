"""The committed alert rules, with windows of seconds, and the limits in them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["limits", "short_rules"]

# The committed rules look back an hour and wait for a quarter of one or half of one; with a minute
# of each the same rules are seen at work within minutes.
_SHORT = {"drift": "40s", "drift_for": "14s", "shadow_for": "14s"}
_MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"


def short_rules() -> str:
    """The file of rules for Prometheus."""
    alerts = _alerts()
    return str(alerts.render_rules(alerts.Windows(**_SHORT)))


def limits() -> tuple[float, float]:
    """The share of novel structures and the ratio of errors beyond which an alert is told."""
    told = _alerts().Limits()
    return float(told.novel_share), float(told.shadow_factor)


def _alerts() -> ModuleType:
    # The generator is a folder beside the rules, and no package of its own.
    sys.path.insert(0, str(_MONITORING))
    try:
        return importlib.import_module("forcegate_monitoring.alerts")
    finally:
        sys.path.remove(str(_MONITORING))
