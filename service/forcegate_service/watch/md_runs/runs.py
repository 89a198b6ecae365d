"""The runs that have reported lately: the newest of each, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from forcegate_service.watch.md_runs.report import EnsembleName, MDReportBody

__all__ = ["MDRuns", "Run", "RunIdentity"]

# At a report a minute, each, this is what a large campaign has under way; some 400 bytes apiece.
MOST_RUNS = 4096
# A client that lives reports every minute.
FORGOTTEN_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What does not change in a run; names are those of the card, not of the report."""

    model: str
    version: str
    ensemble: EnsembleName


@dataclass(slots=True)
class Run:
    """What is known of one run: numbers of its newest report, and what was counted already."""

    identity: RunIdentity
    sequence: int
    seen_s: float
    drift_mev_per_atom_per_ps: float | None = None
    temperature_error_sigmas: float | None = None
    judged_s: float | None = None
    blew_up: bool = False
    settled: bool = False

    def take(self, report: MDReportBody, now_s: float) -> None:
        """Remember the newest figures; what a report does not know, an earlier one may have."""
        self.sequence = report.sequence
        self.seen_s = now_s
        if report.drift_mev_per_atom_per_ps is not None:
            self.drift_mev_per_atom_per_ps = abs(report.drift_mev_per_atom_per_ps)
        mean, target = report.mean_temperature_k, report.target_temperature_k
        sigma = report.temperature_sigma_k
        if mean is not None and target is not None and sigma:
            self.temperature_error_sigmas = abs(mean - target) / sigma


class MDRuns:
    """At most ``most_runs`` runs, each under its caller and its id; ``settle`` hears of each once.

    That is when the run says that it is over, has not reported for an hour, or has to make room.
    Room is made by the caller with the most runs, so that nobody pushes out another's.
    """

    def __init__(self, settle: Callable[[Run], None], most_runs: int = MOST_RUNS) -> None:
        self._settle = settle
        self._most_runs = most_runs
        self._callers: dict[str, OrderedDict[bytes, Run]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, caller: str, run: str) -> Run | None:
        """That run, if it is remembered."""
        runs = self._callers.get(caller)
        return None if runs is None else runs.get(bytes.fromhex(run))

    def add(self, caller: str, run: str, entry: Run) -> None:
        """Remember one more run."""
        if self._count >= self._most_runs:
            self._make_room()
        self._callers.setdefault(caller, OrderedDict())[bytes.fromhex(run)] = entry
        self._count += 1

    def touch(self, caller: str, run: str) -> None:
        """That run reported just now."""
        self._callers[caller].move_to_end(bytes.fromhex(run))

    def settle(self, run: Run) -> None:
        """That run is over."""
        if not run.settled:
            run.settled = True
            self._settle(run)

    def forget_silent(self, now_s: float) -> None:
        """Settle and forget the runs that have not reported for an hour."""
        for caller in list(self._callers):
            runs = self._callers[caller]
            while runs and now_s - next(iter(runs.values())).seen_s > FORGOTTEN_AFTER_S:
                self._forget_oldest(caller)

    def under_way(self) -> int:
        """How many have not said that they are over."""
        return sum(not run.settled for runs in self._callers.values() for run in runs.values())

    def _make_room(self) -> None:
        self._forget_oldest(max(self._callers, key=lambda caller: len(self._callers[caller])))

    def _forget_oldest(self, caller: str) -> None:
        runs = self._callers[caller]
        _, run = runs.popitem(last=False)
        self._count -= 1
        if not runs:
            del self._callers[caller]
        self.settle(run)
