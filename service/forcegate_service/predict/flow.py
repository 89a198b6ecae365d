"""The way of a request for predictions: read, prepare, queue, await, respond, record."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import copy_context
from functools import partial
from typing import TypeVar

import numpy as np

from forcegate_client.checks.structures import Problems
from forcegate_client.errors import ForcegateError, RuntimeUnavailable
from forcegate_client.messages import PredictRequest
from forcegate_service.contract.card import ModelCard
from forcegate_service.models.registry import Registry
from forcegate_service.predict import forms
from forcegate_service.predict.answers import failures, respond
from forcegate_service.predict.forms import XYZ, Form
from forcegate_service.predict.prepare import Preparation, Prepared
from forcegate_service.predict.together import JointPreparation
from forcegate_service.queue.admission import Budget, LengthGuess, Reservation
from forcegate_service.queue.dispatcher import Answer, Dispatcher
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.queue.submission import Submission
from forcegate_service.queue.version import ServedVersion
from forcegate_service.settings import Settings
from forcegate_service.watch.metrics.metrics import Metrics
from forcegate_service.watch.metrics.requests import note_structures
from forcegate_service.watch.observer import Observer, Served

__all__ = ["PredictFlow"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Smaller bodies are done with before a thread would have been woken.
_INLINE_BYTES = 8192
_PREPARING_THREADS = 2


class PredictFlow:
    """Answers requests; made inside a running event loop.

    What is large is read, prepared and encoded on threads of a pool; what is small at once.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        observers: Sequence[Observer],
        models: Registry,
        budget: Budget,
        dispatcher: Dispatcher,
        apart: Callable[[], bool],
    ) -> None:
        """``apart`` tells whether batches are computed on other cores than this process's."""
        self._settings, self._metrics, self._observers = settings, metrics, observers
        self._models, self._budget, self._dispatcher = models, budget, dispatcher
        self._guess = LengthGuess()
        # On one core, fewer and larger batches take less of it.
        self._jointly = JointPreparation(
            settings,
            lambda: dispatcher.idle and apart(),
            dispatcher.hand_over,
            dispatcher.begin_early,
        )
        self._in_flight = 0
        self._pool = ThreadPoolExecutor(_PREPARING_THREADS, "forcegate-prepare")
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def require_room(self, form: Form, length: int, tenant: Tenant) -> None:
        """Refuse a body of ``length`` bytes before it is read, if it could not be admitted now.

        A small one has arrived by now, and is refused in ``predict``.

        Raises:
            TooManyRequests: with an advised wait.
        """
        if length > _INLINE_BYTES:
            self._budget.reserve(tenant, self._guess.seconds(form, length)).release()

    async def predict(
        self, body: bytes, form: Form, answer_form: Form, tenant: Tenant, query: bytes
    ) -> bytes:
        """Answer one request of caller ``tenant``; both bodies are encoded.

        Raises:
            ForcegateError: what the answer is if it is not a prediction.
        """
        reservation = self._budget.reserve(tenant, self._guess.seconds(form, len(body)))
        self._in_flight += 1
        try:
            small = len(body) <= _INLINE_BYTES
            request, problems = await self._read(body, form, query, small)
            version = self._version_of(request)
            # Before anything is evaluated: without it there would be no answer.
            partner = self._partner_of(request, version)
            with version.in_use(), nullcontext() if partner is None else partner.in_use():
                with Submission(self._dispatcher, version, tenant) as submission:
                    prepared = await self._prepare(
                        request, problems, version, submission, reservation, small
                    )
                    self._guess.learn(form, len(body), reservation.seconds)
                    answers = await submission.answers(reservation)
                second = await self._second_opinion(partner, prepared, tenant, reservation)
                failed = failures(prepared, answers, second)
                outcome = version.card, prepared, answers, second, failed, answer_form
                try:
                    if small:
                        encoded, counted = self._respond(*outcome)
                    else:
                        encoded, counted = await self._aside(partial(self._respond, *outcome))
                    self._loop.call_soon(counted)
                    return encoded
                finally:
                    if self._observers:
                        self._loop.call_soon(
                            self._observe, version.card, prepared, answers, failed, tenant.key
                        )
        finally:
            self._in_flight -= 1
            reservation.release()

    async def _read(
        self, body: bytes, form: Form, query: bytes, small: bool
    ) -> tuple[PredictRequest, Problems]:
        # What reads XYZ is loaded with the first of it, which the loop must not wait for.
        if small and form != XYZ:
            request, problems = forms.read(body, form, query, self._settings)
        else:
            reading = partial(forms.read, body, form, query, self._settings)
            request, problems = await self._aside(reading)
        note_structures(len(request.structures))
        return request, problems

    def _version_of(self, request: PredictRequest) -> ServedVersion:
        version = self._models.find(request.model, request.version)
        self._models.policy.require_approved(version.card)
        return version

    def _partner_of(self, request: PredictRequest, version: ServedVersion) -> ServedVersion | None:
        wanted = "force_uncertainty" in request.properties
        return self._models.partner(version.card) if wanted else None

    async def _prepare(
        self,
        request: PredictRequest,
        problems: Problems,
        version: ServedVersion,
        submission: Submission,
        reservation: Reservation,
        small: bool,
    ) -> Prepared:
        """Check ``request`` and submit its structures; reserved is what all of them will take."""

        def begin() -> Preparation:
            return Preparation(request, version.card, version.limit, self._settings, problems)

        def alone() -> Prepared:
            return self._counted(version.card, lambda: begin().completed())

        def ready(prepared: Prepared) -> None:
            reservation.change_to(prepared.seconds)
            submission.submit(prepared.microbatches)
            if self._in_flight == 1:
                # Nobody comes with it.
                self._dispatcher.hand_over()

        # A few atoms in a small cell may have many thousand images.
        if not small or np.count_nonzero(request.structures.pbc):
            return await self._prepare_aside(begin, version.card, submission, reservation)
        if problems:
            prepared = alone()
            ready(prepared)
            return prepared
        if self._in_flight == 1:
            return self._jointly.prepare_now(request, version, alone, ready)
        return await self._jointly.prepare(request, version, alone, ready)

    async def _prepare_aside(
        self,
        begin: Callable[[], Preparation],
        card: ModelCard,
        submission: Submission,
        reservation: Reservation,
    ) -> Prepared:
        """The same on a thread, while the structures that were looked at are evaluated already."""
        preparation = await self._aside(partial(self._counted, card, begin))
        while not preparation.complete:
            microbatches = await self._aside(partial(self._counted, card, preparation.step))
            reservation.change_to(preparation.expected_s)
            submission.submit(microbatches)
        return preparation.prepared()

    async def _second_opinion(
        self,
        partner: ServedVersion | None,
        prepared: Prepared,
        tenant: Tenant,
        reservation: Reservation,
    ) -> list[Answer]:
        """What answers are compared with, in the order of ``prepared``; none without a partner."""
        if partner is None:
            return []
        divided = partner.limit.microbatches
        microbatches = [
            cut for microbatch in prepared.microbatches for cut in divided(microbatch.structures)
        ]
        reservation.change_to(sum(microbatch.seconds for microbatch in microbatches))
        with Submission(self._dispatcher, partner, tenant) as submission:
            submission.submit(microbatches)
            return await submission.answers(reservation)

    def _respond(
        self,
        card: ModelCard,
        prepared: Prepared,
        answers: list[Answer],
        second: list[Answer],
        failed: dict[int, ForcegateError],
        form: Form,
    ) -> tuple[bytes, Callable[[], None]]:
        """The encoded answer, and what counts it, which can wait until it has left."""
        started = time.perf_counter()
        self._metrics.rejected(card, [*prepared.problems.values(), *failed.values()])
        away = [index for index, error in failed.items() if isinstance(error, RuntimeUnavailable)]
        if away:
            # No structure is to blame, and all of them deserve another try.
            raise failed[away[0]]
        request = prepared.request
        if failed and request.on_error == "raise":
            raise failed[min(failed)]
        response = respond(prepared, answers, failed, card, self._remarks(request, card), second)
        body = forms.write(response, request.ids, form)
        phases = {**response.timing, "serialise_s": time.perf_counter() - started}
        size = len(request.structures)
        counted = partial(self._count, card, len(response.predictions.index), phases, size)
        return body, counted

    def _count(self, card: ModelCard, answered: int, phases: dict[str, float], size: int) -> None:
        self._metrics.served(card, answered)
        self._metrics.phases(phases, size)

    def _remarks(self, request: PredictRequest, card: ModelCard) -> list[str]:
        """What is said of every structure of an answer by a version that nobody named."""
        if request.version is None and self._models.is_forced(card.name):
            return [
                f"{card.name} version {card.version} is not validated for any use; the operator of "
                "this server made it the default all the same"
            ]
        return []

    def _counted(self, card: ModelCard, function: Callable[[], T]) -> T:
        """What ``function`` gives; what it refuses is counted."""
        try:
            return function()
        except ForcegateError as error:
            self._metrics.rejected(card, [error])
            raise

    def _observe(
        self,
        card: ModelCard,
        prepared: Prepared,
        answers: list[Answer],
        failed: dict[int, ForcegateError],
        caller: str,
    ) -> None:
        seen = Served(
            card=card,
            asked=prepared.request.structures,
            index=prepared.index,
            parts=[microbatch.structures for microbatch in prepared.microbatches],
            outputs=[answer.output for answer in answers],
            failed=failed,
            caller=caller,
        )
        for observer in self._observers:
            try:
                observer.served(seen)
            except Exception:
                logger.exception("%s failed on an answer", type(observer).__name__)

    async def _aside(self, function: Callable[[], T]) -> T:
        # With the request's id, for whatever is logged there.
        within = copy_context().run
        return await self._loop.run_in_executor(self._pool, within, function)
