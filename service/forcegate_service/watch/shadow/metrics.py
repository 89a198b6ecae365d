"""How far a student is from its teacher on what it was asked, as Prometheus reads it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Literal

import numpy as np
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from forcegate_service.contract.card import ModelCard
from forcegate_service.watch.shadow.results import LabelledStructure, SkipReason

__all__ = ["WINDOW", "DropReason", "ShadowMetrics"]

# The results that gauges are about: enough for an RMSE that does not jump, few enough to forget.
WINDOW = 200

DropReason = Literal[
    "periodic",
    "open_shell",
    "too_large",
    "no_teacher",
    "queue_full",
    "spool_full",
    "write_failed",
]

_LABELS = ("model", "version")
_PREFIX = "forcegate_shadow_"


class ShadowMetrics:
    """Counts of structures, and gauges over the last ``WINDOW`` results of each version.

    A gauge of a version is there from its first result on: nothing is said before it is known.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._structures = Counter(
            f"{_PREFIX}structures_total",
            "Live structures whose answer was compared with the teacher's.",
            _LABELS,
            registry=registry,
        )
        self._spooled = Counter(
            f"{_PREFIX}spooled_total",
            "Live structures that were written for the teacher to label.",
            _LABELS,
            registry=registry,
        )
        self._dropped = Counter(
            f"{_PREFIX}dropped_total",
            "Sampled structures that were not written, by reason.",
            [*_LABELS, "reason"],
            registry=registry,
        )
        self._skipped = Counter(
            f"{_PREFIX}skipped_total",
            "Structures for which there is no answer of the teacher, by reason.",
            [*_LABELS, "reason"],
            registry=registry,
        )
        self._windows = _Windows()
        registry.register(self._windows)

    def spooled(self, model: str, version: str, structures: int) -> None:
        """Count structures that were written."""
        self._spooled.labels(model, version).inc(structures)

    def dropped(self, model: str, version: str, reason: DropReason, structures: int = 1) -> None:
        """Count structures that were sampled for nothing."""
        self._dropped.labels(model, version, reason).inc(structures)

    def skipped(self, model: str, version: str, reason: SkipReason) -> None:
        """Count a structure that the teacher could not label."""
        self._skipped.labels(model, version, reason).inc()

    def result(self, model: str, version: str, result: LabelledStructure) -> None:
        """Take in a comparison."""
        self._structures.labels(model, version).inc()
        self._windows.add((model, version), result)

    def expect(self, card: ModelCard) -> None:
        """Tell what the card measured on test molecules, if it did."""
        self._windows.expect((card.name, card.version), expected_force_rmse(card))

    def unloaded(self, card: ModelCard) -> None:
        """Say nothing more of a version that is not served any more; counts stay."""
        self._windows.forget((card.name, card.version))


def expected_force_rmse(card: ModelCard) -> float | None:
    """The force RMSE (eV/Å) on the card's test molecules; None if it was not measured."""
    test = card.metrics.get("test")
    found = test.get("force_rmse") if isinstance(test, dict) else None
    known = isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return float(found) if known and found is not None else None


_Version = tuple[str, str]


class _Windows(Collector):
    """The gauges, computed when they are read."""

    def __init__(self) -> None:
        self._results: dict[_Version, deque[LabelledStructure]] = {}
        self._expected: dict[_Version, float] = {}

    def add(self, version: _Version, result: LabelledStructure) -> None:
        self._results.setdefault(version, deque(maxlen=WINDOW)).append(result)

    def expect(self, version: _Version, force_rmse: float | None) -> None:
        if force_rmse is None:
            self._expected.pop(version, None)
        else:
            self._expected[version] = force_rmse

    def forget(self, version: _Version) -> None:
        self._results.pop(version, None)
        self._expected.pop(version, None)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The families without samples, for the registry to know their names."""
        yield from _families().values()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What is known of each version."""
        families = _families()
        for version, window in list(self._results.items()):
            results = list(window)
            atoms = np.array([result.n_atoms for result in results], dtype=np.float64)
            absolute = sum(result.force_absolute_sum for result in results)
            squared = sum(result.force_squared_sum for result in results)
            energies = np.abs([result.energy_error_ev for result in results])
            components = 3.0 * float(atoms.sum())
            found = {
                "force_rmse_ev_per_angstrom": math.sqrt(squared / components),
                "force_mae_ev_per_angstrom": absolute / components,
                "energy_mae_mev_per_atom": 1e3 * float((energies / atoms).mean()),
                "window_structures": float(len(results)),
            }
            for name, value in found.items():
                families[name].add_metric(version, value)
        for version, value in list(self._expected.items()):
            families["force_rmse_expected_ev_per_angstrom"].add_metric(version, value)
        yield from families.values()


def _families() -> dict[str, GaugeMetricFamily]:
    return {
        name: GaugeMetricFamily(_PREFIX + name, text, labels=_LABELS)
        for name, text in {
            "force_rmse_ev_per_angstrom": "Force RMSE against the teacher over components, of the "
            f"last {WINDOW} compared structures.",
            "force_mae_ev_per_angstrom": "Force MAE against the teacher over components, of the "
            f"last {WINDOW} compared structures.",
            "energy_mae_mev_per_atom": "Mean energy error against the teacher per atom, of the "
            f"last {WINDOW} compared structures.",
            "force_rmse_expected_ev_per_angstrom": "Force RMSE on the test molecules of the card.",
            "window_structures": "Compared structures that the gauges are about.",
        }.items()
    }
