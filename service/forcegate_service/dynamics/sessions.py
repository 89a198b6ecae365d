"""The way of a run: read, admit, prepare, evaluate where it begins, and hand out its stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from weakref import WeakKeyDictionary

from forcegate_client.checks.structures import Problems
from forcegate_client.errors import ForcegateError
from forcegate_client.messages import PredictRequest
from forcegate_client.runs import RUN_UNITS, RunHeader, RunRequest, Task
from forcegate_client.wire.run_records import StreamForm
from forcegate_service.contract.errors import nobody_evaluates
from forcegate_service.contract.structures import slice_structures
from forcegate_service.dynamics.body import read_run
from forcegate_service.dynamics.guards import Guard
from forcegate_service.dynamics.live import Live
from forcegate_service.dynamics.movers import Pace, mover_of
from forcegate_service.dynamics.outbox import Outbox
from forcegate_service.dynamics.run import Run
from forcegate_service.dynamics.session import Moving, Session
from forcegate_service.predict.answers import failures
from forcegate_service.predict.forms import Form
from forcegate_service.predict.gateway import Gateway
from forcegate_service.predict.prepare import Preparation, Prepared
from forcegate_service.queue.dispatcher import Answer
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.queue.submission import Submission
from forcegate_service.queue.version import ServedVersion
from forcegate_service.watch.md_runs.reports import MDReports
from forcegate_service.watch.metrics.runs import RunMetrics

__all__ = ["Sessions"]


class Sessions:
    """All runs of a server; made inside a running event loop."""

    def __init__(self, gateway: Gateway, metrics: RunMetrics, reports: MDReports) -> None:
        self._gateway, self._settings, self._metrics = gateway, gateway.settings, metrics
        self._reports = reports
        self._live = Live(gateway.settings)
        self._paces: WeakKeyDictionary[ServedVersion, Pace] = WeakKeyDictionary()
        self._open: set[Session] = set()
        self._draining = False
        metrics.watch(streams=lambda: len(self._open), structures=lambda: self._live.structures)

    def drain(self) -> None:
        """End all runs soon, each with a frame to go on from; new ones end as soon."""
        self._draining = True
        for session in self._open:
            session.stop("draining")

    async def open(
        self,
        stack: ExitStack,
        task: Task,
        body: bytes,
        form: Form,
        answer: StreamForm,
        tenant: Tenant,
    ) -> Session:
        """The run that is asked for, which moves when its stream is read; what it holds is given
        back by ``stack``.

        Raises:
            ForcegateError: what the answer is if it is not a stream.
        """
        request, problems = await asyncio.to_thread(read_run, task, body, form, self._settings)
        if not self._gateway.available:
            raise nobody_evaluates()
        version = self._gateway.models.find(request.model, request.version)
        self._gateway.models.policy.require_approved(version.card)
        structures = request.structures
        stack.enter_context(self._live.admitted(tenant, len(structures), structures.total_atoms))
        stack.enter_context(version.in_use())
        partner = self._partner_of(request, version)
        if partner is not None:
            stack.enter_context(partner.in_use())
        prepared, answers = await self._begin(request, problems, version, tenant)
        failed = prepared.problems | failures(prepared, answers)
        if failed and request.on_error == "raise":
            raise failed[min(failed)]
        runs = _runs(request, prepared, answers, failed)
        session = self._session(request, version, partner, runs, prepared, failed, answer, tenant)
        stack.enter_context(self._listed(session))
        self._metrics.began(version.card, runs)
        return session

    def _partner_of(self, request: RunRequest, version: ServedVersion) -> ServedVersion | None:
        wanted = (
            "force_uncertainty" in request.properties or request.max_force_uncertainty is not None
        )
        return self._gateway.models.partner(version.card) if wanted else None

    async def _begin(
        self, request: RunRequest, problems: Problems, version: ServedVersion, tenant: Tenant
    ) -> tuple[Prepared, list[Answer]]:
        """Structures where they begin: checked as those of a prediction, and evaluated."""
        charges = ("charges",) if "charges" in request.properties else ()
        asked = PredictRequest(
            structures=request.structures,
            model=request.model,
            version=request.version,
            properties=("energy", "forces", *charges),
            on_error=request.on_error,
        )

        def prepare() -> Prepared:
            limit, card = version.limit, version.card
            return Preparation(asked, card, limit, self._settings, problems).completed()

        prepared = await asyncio.to_thread(prepare)
        reservation = self._gateway.budget.reserve(tenant, prepared.seconds)
        try:
            with Submission(self._gateway.dispatcher, version, tenant) as submission:
                submission.submit(prepared.microbatches)
                return prepared, await submission.answers(reservation)
        finally:
            reservation.release()

    def _session(
        self,
        request: RunRequest,
        version: ServedVersion,
        partner: ServedVersion | None,
        runs: Sequence[Run],
        prepared: Prepared,
        failed: dict[int, ForcegateError],
        form: StreamForm,
        tenant: Tenant,
    ) -> Session:
        settings, dispatcher, card = self._settings, self._gateway.dispatcher, version.card
        pace = self._paces.setdefault(version, Pace(version.limit, settings.torch_threads))
        header = RunHeader(
            task=request.task,
            method=request.method,
            model=card.name,
            version=card.version,
            digest=card.digest,
            card_digest=card.card_digest,
            structures=len(request.structures),
            status=dict(card.status),
            units=RUN_UNITS,
            limits={
                "run_timeout_s": settings.run_timeout_s,
                "run_buffer_bytes": settings.run_buffer_bytes,
                "max_run_structures": settings.max_run_structures,
                "batch_target_s": settings.batch_target_s,
            },
            warnings={b: texts for b, texts in prepared.warnings.items() if b not in failed},
        )
        return Session(
            request=request,
            header=header,
            movings=[
                Moving(run, mover_of(run, version, dispatcher, tenant, pace), Guard(run, version))
                for run in runs
            ],
            failed=failed,
            outbox=Outbox(form, settings.run_buffer_bytes, self._metrics.paused),
            partner=partner,
            version=version,
            dispatcher=dispatcher,
            tenant=tenant,
            pace=pace,
            metrics=self._metrics,
            reports=self._reports,
            patience_s=settings.inference_timeout_s,
        )

    @contextmanager
    def _listed(self, session: Session) -> Iterator[None]:
        self._open.add(session)
        if self._draining:
            session.stop("draining")
        try:
            yield
        finally:
            self._open.discard(session)


def _runs(
    request: RunRequest,
    prepared: Prepared,
    answers: Sequence[Answer],
    failed: dict[int, ForcegateError],
) -> list[Run]:
    """Those structures that can be moved, where they begin."""
    found, indices = [], iter(prepared.index.tolist())
    for microbatch, answer in zip(prepared.microbatches, answers, strict=True):
        structures, atom = microbatch.structures, 0
        for b, n in enumerate(structures.n_atoms.tolist()):
            index = next(indices)
            if index not in failed:
                output = answer.output.part(slice(b, b + 1), slice(atom, atom + n))
                run = Run(request, index, slice_structures(structures, b, b + 1), output)
                run.converged = request.task == "relax" and run.fmax < request.fmax
                found.append(run)
            atom += n
    return found
