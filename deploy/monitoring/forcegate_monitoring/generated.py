"""The files that are written by code, and what should stand in each."""

from __future__ import annotations

from pathlib import Path

from forcegate_monitoring.alerts import render_rules
from forcegate_monitoring.health_board import HEALTH
from forcegate_monitoring.panels import render_dashboard
from forcegate_monitoring.service_board import SERVICE
from forcegate_service.watch.catalogue import catalogue, document

__all__ = ["BOARDS", "generated", "root"]

BOARDS = (SERVICE, HEALTH)


def generated() -> dict[str, str]:
    """Contents by path in the repository."""
    boards = {
        f"deploy/grafana/dashboards/{board.uid}.json": render_dashboard(board) for board in BOARDS
    }
    return {
        "deploy/prometheus/rules.yml": render_rules(),
        "docs/metrics.md": document(catalogue()),
        **boards,
    }


def root() -> Path:
    """The repository that this file lies in."""
    return Path(__file__).parents[3]
