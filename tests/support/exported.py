"""Metrics in PromQL, and which of them no class of metrics exports yet."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["EXPECTED_ELSEWHERE", "metrics_in", "selectors_in"]

_BY_MODEL = (
    "energy_uncertainty_ev_per_atom",
    "max_novelty",
    "novel_structures_total",
    "watched_structures_total",
    "input_psi",
    "input_window_structures",
    "md_reports_total",
    "md_drift_mev_per_atom_per_ps",
    "md_drifting_reports_total",
    "md_judged_reports_total",
    "md_temperature_error_sigmas",
    "md_blow_ups_total",
    "shadow_force_rmse_ev_per_angstrom",
    "shadow_force_mae_ev_per_angstrom",
    "shadow_force_rmse_expected_ev_per_angstrom",
    "shadow_structures_total",
    "shadow_dropped_total",
    "captured_structures_total",
)
# To be taken away once their classes are in the catalogue.
EXPECTED_ELSEWHERE = frozenset(
    f"forcegate_{name}{suffix}"
    for name in _BY_MODEL
    for suffix in ("", "_bucket", "_count", "_sum")
)
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
