"""One stream: its structures move, each on its own, until all have ended or the stream has to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from forcegate_client.errors import DocumentedError, ForcegateError, RuntimeUnavailable, ServerFault
from forcegate_client.runs import End, EndReason, RunHeader, RunRequest, RunSummary, SummaryReason
from forcegate_service.dynamics.guards import Guard
from forcegate_service.dynamics.health import report_of
from forcegate_service.dynamics.movers import Mover, Pace
from forcegate_service.dynamics.outbox import Outbox
from forcegate_service.dynamics.run import Float, Run
from forcegate_service.queue.dispatcher import Dispatcher
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.queue.version import ServedVersion
from forcegate_service.watch.md_runs.reports import MDReports
from forcegate_service.watch.metrics.runs import RunMetrics

__all__ = ["Moving", "Session"]

logger = logging.getLogger(__name__)

# A run is told at least so often, so that little is lost with a server.
_CHECKPOINT_S = 60.0
_FS_PER_NS = 1e6
_S_PER_DAY = 86400.0


@dataclass
class Moving:
    """A run, what moves it, and what watches it."""

    run: Run
    mover: Mover
    guard: Guard
    told_at: float = 0.0
    ended: bool = False


class Session:
    """A stream of records; ``stream`` gives it, piece by piece."""

    def __init__(
        self,
        request: RunRequest,
        header: RunHeader,
        movings: Sequence[Moving],
        failed: dict[int, ForcegateError],
        outbox: Outbox,
        partner: ServedVersion | None,
        version: ServedVersion,
        dispatcher: Dispatcher,
        tenant: Tenant,
        pace: Pace,
        metrics: RunMetrics,
        reports: MDReports,
        patience_s: float,
    ) -> None:
        """``failed`` are structures that cannot be moved at all; nobody is waited for to evaluate
        for longer than ``patience_s``.
        """
        self._request, self._header, self._failed = request, header, failed
        self._movings, self._outbox = movings, outbox
        self._partner, self._version = partner, version
        self._dispatcher, self._tenant, self._pace = dispatcher, tenant, pace
        self._metrics, self._reports, self._patience_s = metrics, reports, patience_s
        self._started = time.perf_counter()
        self.steps = 0
        self._reason: SummaryReason = "finished"
        self._problem: ForcegateError | None = None

    def stop(self, reason: SummaryReason) -> None:
        """End soon: each structure that still moves is told where it is."""
        if self._reason == "finished":
            self._reason = reason
            # Also those that wait for their client.
            self._outbox.end_waiting()

    async def stream(self, timeout_s: float) -> AsyncGenerator[bytes, None]:
        """All records; after ``timeout_s`` the stream ends. Whoever stops reading ends the runs."""
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(timeout_s, self.stop, "deadline")
        self._outbox.put(self._header)
        moving = asyncio.create_task(self._move_all())
        try:
            while (body := await self._outbox.take(lambda: self.steps)) is not None:
                yield body
                self._outbox.sent()
            await moving
        finally:
            deadline.cancel()
            moving.cancel()
            self._outbox.end()

    async def _move_all(self) -> None:
        for index, error in self._failed.items():
            self._end(End(index, 0, "failed", problem=_problem(error)))
        try:
            async with asyncio.TaskGroup() as group:
                for moving in self._movings:
                    group.create_task(self._move(moving))
        except* ForcegateError as errors:
            self._fail(errors.exceptions[0])
        except* Exception as errors:
            logger.exception("a run met a defect")
            self._fail(errors.exceptions[0])
        self._outbox.put(self._summary())
        self._outbox.end()

    async def _move(self, moving: Moving) -> None:
        """The way of one structure."""
        run, guard = moving.run, moving.guard
        moving.told_at = time.perf_counter()
        self._pace.live += 1
        try:
            stopped = await self._tell_if_due(moving)
            while not (run.over or stopped):
                await self._outbox.room()
                if self._reason != "finished":
                    break
                await self._advance(moving)
                guard.look()
                stopped = await self._tell_if_due(moving)
            if not (run.over or stopped):
                await self._tell(moving)
                return
            self._end_of(moving, self._end_reason(run, stopped))
        except RuntimeUnavailable:
            raise
        except ForcegateError as error:
            self._end_of(moving, "failed", error)
        finally:
            self._pace.live -= 1

    async def _advance(self, moving: Moving) -> None:
        run = moving.run
        until = time.perf_counter() + self._patience_s
        while True:
            try:
                steps = await moving.mover.advance(run.steps_until_told)
            except RuntimeUnavailable as error:
                if time.perf_counter() > until:
                    raise
                await asyncio.sleep(error.retry_after_s or 1.0)
            else:
                self.steps += steps
                self._metrics.moved(self._version.card, self._request, steps)
                return

    async def _tell_if_due(self, moving: Moving) -> bool:
        """A frame if it is time for one; whether a guard stops the run there."""
        overdue = time.perf_counter() - moving.told_at > _CHECKPOINT_S
        return await self._tell(moving) if moving.run.due or overdue else False

    async def _tell(self, moving: Moving) -> bool:
        run = moving.run
        if run.told_step == run.state.step:
            return False
        sigma = await self._uncertainty(run)
        remarks = moving.guard.remarks(sigma)
        self._outbox.put(run.frame(sigma, remarks))
        moving.told_at = time.perf_counter()
        return moving.guard.beyond(remarks)

    async def _uncertainty(self, run: Run) -> Float | None:
        """Of the forces [n] in eV/Å, by a second student; None where nobody asks for it."""
        partner, calibration = self._partner, self._version.card.force_partner
        if partner is None or calibration is None:
            return None
        (microbatch,) = partner.limit.microbatches(run.here())
        answer = await self._dispatcher.submit(partner, microbatch, self._tenant)
        if answer.faults:
            raise answer.faults[0]
        n_atoms = run.structures.n_atoms
        return calibration.sigma(run.state.forces, answer.output.forces, n_atoms)

    def _end_reason(self, run: Run, stopped: bool) -> EndReason:
        if stopped:
            return "stopped"
        if self._request.task == "dynamics":
            return "finished"
        return "converged" if run.converged else "not_converged"

    def _end_of(
        self, moving: Moving, reason: EndReason, error: ForcegateError | None = None
    ) -> None:
        run, guard = moving.run, moving.guard
        card = self._version.card
        self._metrics.ended(card, self._request, reason)
        report = report_of(run, guard, card, error)
        if report is not None:
            self._reports.own(self._tenant.key, report)
        steps = run.state.step - run.start_step
        dynamics = self._request.task == "dynamics"
        self._end(
            End(
                structure=run.index,
                step=run.state.step,
                reason=reason,
                problem=None if error is None else _problem(error),
                **_drift_of(guard),
                duration_ps=steps * self._request.timestep_fs * 1e-3 if dynamics else None,
                mean_temperature_k=guard.mean_temperature_k if dynamics else None,
            )
        )

    def _end(self, end: End) -> None:
        self._outbox.put(end)

    def _fail(self, error: Exception) -> None:
        self._reason = "failed"
        self._problem = error if isinstance(error, ForcegateError) else _defect()

    def _summary(self) -> RunSummary:
        seconds = time.perf_counter() - self._started
        pace = self.steps / seconds if seconds > 0.0 else None
        dynamics = self._request.task == "dynamics" and pace is not None
        return RunSummary(
            reason=self._reason,
            steps=self.steps,
            seconds=seconds,
            paused_s=self._outbox.paused_s,
            steps_per_s=pace,
            ns_per_day=pace * self._request.timestep_fs / _FS_PER_NS * _S_PER_DAY
            if dynamics and pace is not None
            else None,
            problem=None if self._problem is None else _problem(self._problem),
        )


def _drift_of(guard: Guard) -> dict[str, Any]:
    drift = guard.drift
    if drift is None:
        return {}
    return {
        "drift_mev_per_atom_per_ps": drift.slope_mev_per_atom_per_ps,
        "drift_standard_error_mev_per_atom_per_ps": drift.standard_error_mev_per_atom_per_ps,
        "drift_blocks": drift.n_blocks,
    }


def _problem(error: ForcegateError) -> dict[str, object]:
    documented = error if isinstance(error, DocumentedError) else _defect()
    return documented.to_problem()


def _defect() -> ServerFault:
    return ServerFault(
        "a run that met a defect in the server",
        expected="a run that goes on",
        action="report it with the X-Request-ID of this response, and go on from the last frames",
    )
