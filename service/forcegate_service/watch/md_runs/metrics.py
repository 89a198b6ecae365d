"""The metrics of what runs of molecular dynamics report; labels are the server's own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from forcegate_client.md.blow_up import BlowUp
from forcegate_service.watch.md_runs.runs import Run, RunIdentity

__all__ = ["MDMetrics", "Outcome"]

Outcome = Literal["accepted", "replayed", "refused", "limited"]

_DRIFT_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_SIGMA_BUCKETS = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
# In place of a model that the server does not have, whatever the report calls it.
_NONE = "none"


class MDMetrics:
    """Counters take reports as they come; histograms take each run once, by its newest report."""

    def __init__(self, registry: CollectorRegistry) -> None:
        version = ["model", "version"]
        self._reports = Counter(
            "forcegate_md_reports_total",
            "Reports of molecular dynamics, by what became of them: accepted, replayed, refused, "
            "limited. Model and version are none unless the report was found to be about one.",
            [*version, "outcome"],
            registry=registry,
        )
        self._judged = Counter(
            "forcegate_md_judged_reports_total",
            "Reports with a drift of a run that is long enough to judge it.",
            version,
            registry=registry,
        )
        self._drifting = Counter(
            "forcegate_md_drifting_reports_total",
            "Judged reports that show a drift: |slope| less two standard errors is over the limit.",
            version,
            registry=registry,
        )
        self._blow_ups = Counter(
            "forcegate_md_blow_ups_total",
            "Runs that left physics: not_finite, temperature, bond or energy.",
            [*version, "reason"],
            registry=registry,
        )
        self._drift = Histogram(
            "forcegate_md_drift_mev_per_atom_per_ps",
            "Size of the energy drift of runs that are over, each by its newest report.",
            [*version, "ensemble"],
            buckets=_DRIFT_BUCKETS,
            registry=registry,
        )
        self._temperature = Histogram(
            "forcegate_md_temperature_error_sigmas",
            "Distance of the mean temperature from its target, in expected fluctuations, of runs "
            "that are over.",
            [*version, "ensemble"],
            buckets=_SIGMA_BUCKETS,
            registry=registry,
        )
        self._runs = Gauge(
            "forcegate_md_runs",
            "Runs that reported within the last hour and are not over.",
            registry=registry,
        )

    def report(self, identity: RunIdentity | None, outcome: Outcome) -> None:
        """Count a report; ``identity`` if it is about a model that is served."""
        model, version = (_NONE, _NONE) if identity is None else (identity.model, identity.version)
        self._reports.labels(model, version, outcome).inc()

    def judged(self, identity: RunIdentity, drifts: bool) -> None:
        """Count a report that tells whether the run drifts."""
        labels = identity.model, identity.version
        self._judged.labels(*labels).inc()
        # Made at once, so that a rate of it exists from the first judged report on.
        self._drifting.labels(*labels).inc(1 if drifts else 0)

    def blew_up(self, identity: RunIdentity, reason: BlowUp) -> None:
        """Count a run that left physics."""
        self._blow_ups.labels(identity.model, identity.version, reason).inc()

    def run_over(self, run: Run) -> None:
        """Count a run by its newest figures."""
        labels = run.identity.model, run.identity.version, run.identity.ensemble
        if run.drift_mev_per_atom_per_ps is not None:
            self._drift.labels(*labels).observe(run.drift_mev_per_atom_per_ps)
        if run.temperature_error_sigmas is not None:
            self._temperature.labels(*labels).observe(run.temperature_error_sigmas)

    def watch(self, runs: Callable[[], int]) -> None:
        """Ask for the number of runs whenever metrics are read."""
        self._runs.set_function(runs)
