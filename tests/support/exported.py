"""Metrics in PromQL."""

from __future__ import annotations

import re
from collections.abc import Iterator

from forcegate_monitoring.panels import Board

__all__ = ["asked", "metrics_in", "selectors_in"]

_METRIC = re.compile(r"\bforcegate_\w+")
_SELECTOR = re.compile(r"\b(forcegate_\w+)\{([^}]*)\}")
_LABEL = re.compile(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"')


def metrics_in(query: str) -> set[str]:
    """The names of the samples of ours that a query asks for."""
    return set(_METRIC.findall(query))


def selectors_in(query: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each metric that is selected by labels, and their values."""
    for name, labels in _SELECTOR.findall(query):
        yield name, dict(_LABEL.findall(labels))


def asked(expression: str, board: Board) -> str:
    """What Grafana would ask, with everything chosen."""
    expression = expression.replace(f"${board.variable}", ".+")
    return re.sub(r"\[(\$__rate_interval|1h)\]", "[20s]", expression)
