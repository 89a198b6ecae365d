"""How sure each version was, how novel what it was asked is, and the metrics that say so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.histograms import FEATURES, Features, TrainingHistograms
from forcegate_service.settings import Settings
from forcegate_service.watch.metrics.bulk_histogram import Buckets
from forcegate_service.watch.novelty.window import SlidingCounts, population_stability_index

__all__ = ["ModelHealth", "VersionHealth"]

Float = npt.NDArray[np.float64]

_UNCERTAINTY_BUCKETS_EV_PER_ATOM = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
_NOVELTY_BUCKETS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 20.0)
_LABELS = ("model", "version")


class _Comparison:
    """Lately watched structures beside those that the version was trained on."""

    def __init__(
        self, training: TrainingHistograms, window_s: float, clock: Callable[[], float]
    ) -> None:
        self.training = training
        self._bins = training.bins()
        self._trained = training.counts()
        self._window = SlidingCounts(self._bins.size, window_s, clock)

    @property
    def structures(self) -> int:
        return self._window.structures

    def count(self, features: Features) -> None:
        self._window.add(self._bins.count(features), len(features.atoms))

    def index(self, feature: str) -> float:
        where = self._bins.of[feature]
        return population_stability_index(self._window.counts[where], self._trained[where])


class VersionHealth:
    """What was watched of one version since it is served.

    ``novel`` counts structures beyond the 99 % quantile of the training set; it is None, as is the
    comparison, for a card without histograms, where nobody knows.
    """

    def __init__(self, card: ModelCard, window_s: float, clock: Callable[[], float]) -> None:
        self.card = card
        self.watched = 0
        self.novel: int | None = None
        self.uncertainty = Buckets(_UNCERTAINTY_BUCKETS_EV_PER_ATOM)
        self.novelty = Buckets(_NOVELTY_BUCKETS)
        self.comparison: _Comparison | None = None
        self._window_s, self._clock = window_s, clock
        self.read(card)

    def read(self, card: ModelCard) -> None:
        """Go by ``card``, of the same weights, from now on."""
        self.card = card
        known = None if self.comparison is None else self.comparison.training
        if card.histograms == known:
            return
        if card.histograms is None:
            self.comparison = self.novel = None
        else:
            self.comparison = _Comparison(card.histograms, self._window_s, self._clock)
            self.novel = self.novel or 0

    def count(self, features: Features) -> None:
        """Watch some structures."""
        self.watched += len(features.atoms)
        self.uncertainty.observe(features.energy_uncertainty)
        self.novelty.observe(features.max_novelty)
        if self.comparison is not None and self.novel is not None:
            threshold = self.comparison.training.max_novelty_99
            self.novel += int(np.count_nonzero(features.max_novelty > threshold))
            self.comparison.count(features)


class ModelHealth(Collector):
    """The metrics of all versions that are served, made when somebody reads them.

    What is not known has no sample: neither a zero nor a NaN. ``refresh`` is called before they
    are made. A version that is forgotten takes its labels along.
    """

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        refresh: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._refresh = refresh
        self._versions: dict[tuple[str, str], VersionHealth] = {}
        registry.register(self)

    def of(self, card: ModelCard) -> VersionHealth:
        """The version of that card, from its first request on."""
        version = self._versions.get((card.name, card.version))
        if version is None:
            version = VersionHealth(card, self._settings.drift_window_s, self._clock)
            self._versions[card.name, card.version] = version
        elif version.card is not card:
            version.read(card)
        return version

    def forget(self, card: ModelCard) -> None:
        """The version of that card is not served any more."""
        self._versions.pop((card.name, card.version), None)

    def describe(self) -> Iterable[Metric]:
        """The names, without samples."""
        return self._families(())

    def collect(self) -> Iterable[Metric]:
        """All samples there are."""
        self._refresh()
        return self._families(self._versions.values())

    def _families(self, versions: Iterable[VersionHealth]) -> Iterator[Metric]:
        uncertainty = HistogramMetricFamily(
            "forcegate_energy_uncertainty_ev_per_atom",
            "Standard deviation of the energy of watched structures, per atom.",
            labels=_LABELS,
        )
        novelty = HistogramMetricFamily(
            "forcegate_max_novelty",
            "Largest novelty of an atom of watched structures.",
            labels=_LABELS,
        )
        watched = CounterMetricFamily(
            "forcegate_watched_structures",
            "Structures whose novelty was looked at; of large requests some.",
            labels=_LABELS,
        )
        novel = CounterMetricFamily(
            "forcegate_novel_structures",
            "Watched structures beyond the 99 % quantile of the training set's novelty.",
            labels=_LABELS,
        )
        index = GaugeMetricFamily(
            "forcegate_input_psi",
            "Population stability index of lately watched structures against the training set.",
            labels=(*_LABELS, "feature"),
        )
        window = GaugeMetricFamily(
            "forcegate_input_window_structures",
            "Lately watched structures, which the population stability index is made of.",
            labels=_LABELS,
        )
        for version in versions:
            labels = [version.card.name, version.card.version]
            version.uncertainty.add_to(uncertainty, labels)
            version.novelty.add_to(novelty, labels)
            watched.add_metric(labels, version.watched)
            if version.novel is not None:
                novel.add_metric(labels, version.novel)
            if version.comparison is None:
                continue
            lately = version.comparison.structures
            window.add_metric(labels, lately)
            if lately >= self._settings.drift_min_structures:
                for feature in FEATURES:
                    index.add_metric([*labels, feature], version.comparison.index(feature))
        yield from (uncertainty, novelty, watched, novel, index, window)
