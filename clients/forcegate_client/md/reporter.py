"""When a run is reported to the gateway, and what the report says."""

from __future__ import annotations

import atexit
import logging
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from forcegate_client.http.calculator import RemoteCalculator
from forcegate_client.md.blow_up import BlowUp
from forcegate_client.md.ensemble import Ensemble
from forcegate_client.md.progress import RunProgress
from forcegate_client.md.reports import ReportSender, RunReport

__all__ = ["REPORT_EVERY_S", "RunFacts", "RunReporter"]

logger = logging.getLogger("forcegate")

REPORT_EVERY_S = 60.0
# A run may be done in many short calls of ``run``; their ends are no occasion for more than this.
END_OF_RUN_EVERY_S = 10.0
# For everything that is still to be sent when the interpreter ends.
FLUSH_S = 2.0

# Those that may have something to say by then, though their monitors are forgotten.
_open: set[RunReporter] = set()


@dataclass
class RunFacts:
    """What a monitor knows of its run beside the samples, as of the latest one."""

    ensemble: Ensemble
    n_dof: int
    conserves: bool
    timestep_fs: float
    target_temperature_k: float | None
    blow_up: BlowUp | None = None

    @property
    def temperature_sigma_k(self) -> float | None:
        """By how much the temperature fluctuates: T/√n_dof without a thermostat, √2 times with."""
        if self.target_temperature_k is None or self.n_dof < 1:
            return None
        factor = 1.0 if self.ensemble is Ensemble.NVE else math.sqrt(2.0)
        return factor * self.target_temperature_k / math.sqrt(self.n_dof)


class RunReporter:
    """Reports the run that ``calculator`` drives: now and then, at a blow-up and at the end.

    It holds nothing that holds the dynamics, so it can be the last to go.
    """

    def __init__(
        self,
        calculator: RemoteCalculator,
        progress: RunProgress,
        facts: RunFacts,
        *,
        every_s: float = REPORT_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calculator = calculator
        self._progress = progress
        self._facts = facts
        self._every_s = every_s
        self._clock = clock
        self._sender = ReportSender(calculator.client)
        self._run = secrets.token_hex(16)
        self._sequence = 0
        self._last_s = clock()
        self._done = False
        _finish_at_exit()
        _open.difference_update([other for other in _open if other.is_done])
        _open.add(self)

    @property
    def is_done(self) -> bool:
        """Whether everything is said, and has gone out."""
        return self._done and self._sender.is_idle

    def sampled(self, end_of_run: bool) -> None:
        """A sample was recorded; ``end_of_run`` if it is the last of this call of ``run``."""
        self._sender.start()
        passed_s = self._clock() - self._last_s
        due_s = self._every_s
        if end_of_run:
            due_s = 0.0 if self._sequence == 0 else min(due_s, END_OF_RUN_EVERY_S)
        if passed_s >= due_s and self._progress.n_samples > 1:
            self._send(final=False)

    def blew_up(self, stopped: bool) -> None:
        """The run left physics, and is over if it was ``stopped``."""
        self._send(final=stopped)
        if stopped:
            self._done = True
            self._sender.close()

    def finish(self, wait_s: float = FLUSH_S) -> None:
        """The run is over: say so, and wait for so long for that to get through."""
        if self._progress.n_samples > 1:
            self._send(final=True)
        self._done = True
        self._sender.close()
        self._sender.wait(wait_s)

    def _send(self, final: bool) -> None:
        if self._done or not self._sender.wanted:
            return
        self._last_s = self._clock()
        try:
            report = self._report(final)
        except Exception as error:
            # Whatever is wrong with a report is not worth a run.
            logger.info("no report of this run: %r", error)
            self._done = True
            return
        if report is not None:
            self._sequence += 1
            self._sender.offer(report)

    def _report(self, final: bool) -> RunReport | None:
        """``None`` before the server has said which version answers."""
        calculator, facts, progress = self._calculator, self._facts, self._progress
        if calculator.version is None or calculator.digest is None:
            return None
        drift = progress.drift() if facts.conserves else None
        slope = None if drift is None else drift.slope_mev_per_atom_per_ps
        error = None if drift is None else drift.standard_error_mev_per_atom_per_ps
        return RunReport(
            run=self._run,
            sequence=self._sequence,
            model=calculator.model,
            version=calculator.version,
            digest=calculator.digest,
            ensemble=facts.ensemble,
            timestep_fs=facts.timestep_fs,
            n_atoms=progress.n_atoms,
            duration_ps=progress.duration_ps,
            target_temperature_k=facts.target_temperature_k,
            mean_temperature_k=progress.mean_temperature_k(),
            temperature_sigma_k=facts.temperature_sigma_k,
            drift_mev_per_atom_per_ps=slope,
            drift_standard_error_mev_per_atom_per_ps=error,
            final=final,
            blow_up=facts.blow_up,
        )


@cache
def _finish_at_exit() -> None:
    """Have the last reports of all runs sent at the end of the interpreter; registers once."""
    atexit.register(_finish_all)


def _finish_all() -> None:
    deadline = time.monotonic() + FLUSH_S
    reporters = list(_open)
    for reporter in reporters:
        reporter.finish(wait_s=0.0)
    for reporter in reporters:
        reporter.finish(wait_s=max(deadline - time.monotonic(), 0.0))
