"""Takes reports of molecular dynamics: who may send how many, which are new, and what they count.

A report is what a caller says, and the metrics are what somebody may be woken by. So names come
from the card of a version that is served with those very weights; what is wrong is counted as
refused and nowhere else; a report that was seen changes nothing; and how much one caller can count
is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from forcegate_client.errors import DocumentedError, TooManyRequests, UnprocessableRequest
from forcegate_service.contract.card import ModelCard
from forcegate_service.watch.md_runs.metrics import MDMetrics
from forcegate_service.watch.md_runs.report import MDReportBody, read_report
from forcegate_service.watch.md_runs.runs import MDRuns, Run, RunIdentity
from forcegate_service.watch.md_runs.token_bucket import TokenBuckets

__all__ = ["DRIFT_LIMIT_MEV_PER_ATOM_PER_PS", "MDReports"]

# Five times what validation approves a version with, 0.02 at 300 K and 0.5 fs: users simulate at
# other temperatures and timesteps, and nobody is to be woken for that.
DRIFT_LIMIT_MEV_PER_ATOM_PER_PS = 5 * 0.02
# Block means of less are not independent.
JUDGED_FROM_PS = 2.0
# However often a run reports, it has no more say than one that reports so seldom.
JUDGED_EVERY_S = 10.0
# 1200 runs that report once a minute, or 4 new runs a second, 200 at once.
TOKENS_PER_S, BURST_TOKENS = 20.0, 1000.0
NEW_RUN_TOKENS, REPORT_TOKENS = 5.0, 1.0
MOST_CALLERS = 4096


class MDReports:
    """Everything that is known of callers' runs; used on the event loop alone."""

    def __init__(
        self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._metrics = MDMetrics(registry)
        self._runs = MDRuns(self._metrics.run_over)
        self._buckets = TokenBuckets(TOKENS_PER_S, BURST_TOKENS, MOST_CALLERS, clock)
        self._clock = clock
        self._metrics.watch(self._under_way)

    def __len__(self) -> int:
        """How many runs are remembered."""
        return len(self._runs)

    def refused(self) -> None:
        """Count a report that did not come as far as being read."""
        self._metrics.report(None, "refused")

    def take(self, body: bytes, caller: str, find_card: Callable[[str, str], ModelCard]) -> None:
        """Count a report of ``caller``; one that was seen, or is overtaken, changes nothing.

        Raises:
            MalformedBody, UnprocessableRequest: if it cannot be right.
            ModelNotFound: if it is about a version that is not served.
            TooManyRequests: if the caller sends too many, or too many new runs.
        """
        try:
            report = read_report(body)
            identity = _identity(report, find_card(report.model, report.version))
            run = self._runs.find(caller, report.run)
            if run is not None and run.identity != identity:
                raise _another_run(report)
        except DocumentedError:
            self.refused()
            # Wrong reports are not free either; those that are over the limit say so.
            self._charge(caller, REPORT_TOKENS, None)
            raise
        self._charge(caller, NEW_RUN_TOKENS if run is None else REPORT_TOKENS, identity)
        if run is not None and report.sequence <= run.sequence:
            self._metrics.report(identity, "replayed")
            return
        self._count(caller, report, run or self._add(caller, report, identity))

    def own(self, caller: str, report: MDReportBody) -> None:
        """Count the only report of a run of ``caller`` that this server moved."""
        identity = RunIdentity(report.model, report.version, report.ensemble)
        self._count(caller, report, self._add(caller, report, identity))

    def _add(self, caller: str, report: MDReportBody, identity: RunIdentity) -> Run:
        run = Run(identity, report.sequence, self._clock())
        self._runs.add(caller, report.run, run)
        return run

    def _charge(self, caller: str, tokens: float, identity: RunIdentity | None) -> None:
        wait_s = self._buckets.missing_s(caller, tokens)
        if wait_s > 0.0:
            if identity is not None:
                self._metrics.report(identity, "limited")
            raise TooManyRequests(
                "more reports of molecular dynamics than one caller may send",
                expected=f"at most {TOKENS_PER_S:g} reports a second, where the first of a run "
                f"counts as {NEW_RUN_TOKENS:g}",
                action="leave this one out; a later report of the same run says all that it says",
                code="too_many_reports",
                retry_after_s=wait_s,
            )

    def _count(self, caller: str, report: MDReportBody, run: Run) -> None:
        now = self._clock()
        run.take(report, now)
        self._runs.touch(caller, report.run)
        self._metrics.report(run.identity, "accepted")
        self._judge(report, run, now)
        if report.blow_up is not None and not run.blew_up:
            run.blew_up = True
            self._metrics.blew_up(run.identity, report.blow_up)
        if report.final:
            self._runs.settle(run)

    def _judge(self, report: MDReportBody, run: Run, now_s: float) -> None:
        slope = report.drift_mev_per_atom_per_ps
        error = report.drift_standard_error_mev_per_atom_per_ps
        if slope is None or error is None or report.duration_ps < JUDGED_FROM_PS:
            return
        lately = run.judged_s is not None and now_s - run.judged_s < JUDGED_EVERY_S
        if lately and not (report.final and not run.settled):
            return
        run.judged_s = now_s
        shown = abs(slope) - 2.0 * error
        self._metrics.judged(run.identity, shown > DRIFT_LIMIT_MEV_PER_ATOM_PER_PS)

    def _under_way(self) -> int:
        self._runs.forget_silent(self._clock())
        return self._runs.under_way()


def _identity(report: MDReportBody, card: ModelCard) -> RunIdentity:
    if report.digest != card.digest:
        raise UnprocessableRequest(
            f"a report about {card.name} {card.version} with {report.digest}",
            expected=f"the weights that are served, {card.digest}",
            action="send reports to the server that computes the forces",
            code="digest_mismatch",
        )
    return RunIdentity(card.name, card.version, report.ensemble)


def _another_run(report: MDReportBody) -> UnprocessableRequest:
    return UnprocessableRequest(
        f"run {report.run} with another model, version or ensemble than before",
        expected="what the run began with",
        action="give each run an id of its own",
        code="run_changed",
    )
