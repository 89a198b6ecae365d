"""The gateway's life and its main job: predictions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from contextvars import copy_context
from functools import partial
from typing import TypeVar

import numpy as np

from forcegate_client.checks.structures import Problems
from forcegate_client.errors import ForcegateError, RuntimeUnavailable
from forcegate_client.messages import PredictRequest
from forcegate_client.wire import decode_request, encode_response
from forcegate_service.answers import failures, respond
from forcegate_service.buffered import BodyBuffer
from forcegate_service.card import ModelCard
from forcegate_service.errors import ModelAbsent, nobody_evaluates
from forcegate_service.joint_preparation import JointPreparation
from forcegate_service.json_answer import write_json
from forcegate_service.json_request import read_json
from forcegate_service.metrics import Metrics
from forcegate_service.monitoring.observer import HearsOfUnloading, Observer, Served
from forcegate_service.negotiation import JSON, XYZ, Form
from forcegate_service.preparation import Preparation, Prepared, prepare
from forcegate_service.registry import Registry
from forcegate_service.request_record import note_structures
from forcegate_service.runtimes.choose import Runtimes
from forcegate_service.scheduling.asked import Asked
from forcegate_service.scheduling.batch_limit import Piece
from forcegate_service.scheduling.budget import Budget, Reservation
from forcegate_service.scheduling.dispatcher import Answer, Dispatcher
from forcegate_service.scheduling.flow import Flow
from forcegate_service.scheduling.guess import LengthGuess
from forcegate_service.scheduling.loop_lag import LoopLag
from forcegate_service.scheduling.version import ServedVersion
from forcegate_service.serving import Reloaded, Serving
from forcegate_service.settings import Settings
from forcegate_service.xyz_request import read_xyz

__all__ = ["Gateway"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Smaller bodies are done with before a thread would have been woken.
_INLINE_BYTES = 8192
_PREPARING_THREADS = 2
# For versions that no inference server has.
_LOOK_AGAIN_S = 2.0


class Gateway:
    """Everything that lives as long as the server; made inside a running event loop."""

    def __init__(
        self,
        settings: Settings,
        runtimes: Runtimes,
        metrics: Metrics,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.settings = settings
        self.observers = observers
        self.metrics = metrics
        self.ready = False
        self.loading: asyncio.Task[None] | None = None
        self._lag = LoopLag()
        self.budget = Budget(
            settings.queue_budget_s, lost_s=lambda: self._lag.seconds, lanes=runtimes.lanes
        )
        self.bodies = BodyBuffer(settings.max_buffered_bytes)
        self._runtimes = runtimes
        self._dispatcher = Dispatcher(self.metrics)
        self._serving = Serving(settings, runtimes.load, self._dispatcher, metrics, self._unloaded)
        self._guess = LengthGuess()
        self._jointly = JointPreparation(
            settings,
            # On one core, fewer and larger batches take less of it.
            lambda: self._dispatcher.idle and runtimes.apart(),
            self._dispatcher.hand_over,
        )
        self._in_flight = 0
        self._looking: asyncio.Task[None] | None = None
        self._pool = ThreadPoolExecutor(_PREPARING_THREADS, "forcegate-prepare")
        metrics.watch(
            admitted_s=lambda: self.budget.admitted_s,
            queued_s=lambda: max(0.0, self.budget.admitted_s - self._dispatcher.running_s),
            budget_s=lambda: self.budget.limit_s * runtimes.lanes(),
            available=runtimes.available,
        )

    @property
    def models(self) -> Registry:
        """What is served."""
        return self._serving.registry

    async def load_models(self) -> None:
        """Load and warm up every version in the repository; then the gateway is ready.

        Raises:
            ModelRefused: if not a single version can be served, now or later.
        """
        said = ""
        while not self.ready:
            await self._runtimes.reached()
            try:
                await self._serving.reload()
            except (RuntimeUnavailable, ModelAbsent) as error:
                if str(error) != said:
                    logger.warning("models are loaded once more: %s", error)
                said = str(error)
                await asyncio.sleep(_LOOK_AGAIN_S)
            else:
                self.ready = True
                self._looking = asyncio.create_task(self._look_for_the_absent())

    async def _look_for_the_absent(self) -> None:
        """Serve what inference servers came to have after it was refused."""
        while True:
            await asyncio.sleep(_LOOK_AGAIN_S)
            if any(refusal.absent for refusal in self.models.refused):
                # Whatever stands against it is logged, and asked for again.
                with suppress(ForcegateError):
                    await self._serving.reload()

    async def reload(self) -> Reloaded:
        """Look at the repository again; see ``Serving.reload``."""
        self.require_ready()
        return await self._serving.reload()

    def kill(self) -> None:
        """End processes that hang, without waiting for anything; any thread may call."""
        self._runtimes.kill()

    async def close(self) -> None:
        """Finish queued work and give everything back."""
        self.ready = False
        self._lag.stop()
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        await self._dispatcher.close()
        self._pool.shutdown()
        for observer in self.observers:
            observer.close()
        for served in self.models.served():
            served.runtime.close()
        # It may wait for processes to end.
        await asyncio.to_thread(self._runtimes.close)

    def require_available(self) -> None:
        """Raise while models are still being loaded, or nobody is there to evaluate them.

        Raises:
            RuntimeUnavailable: to be tried again in a moment.
        """
        self.require_ready()
        if not self._runtimes.available():
            raise nobody_evaluates()

    def require_ready(self) -> None:
        """Raise while models are still being loaded.

        Raises:
            RuntimeUnavailable: to be tried again in a moment.
        """
        if not self.ready:
            raise RuntimeUnavailable(
                "a request before the models are loaded",
                expected="/health/ready to answer 200",
                action="try again in a moment",
                code="not_ready",
                retry_after_s=1.0,
            )

    def require_room(self, form: Form, length: int, flow: Flow) -> None:
        """Refuse a body of ``length`` bytes before it is read, if it could not be admitted now.

        A small one has arrived by now, and is refused in ``predict``.

        Raises:
            TooManyRequests: with an advised wait.
        """
        if length <= _INLINE_BYTES:
            return
        self.budget.reserve(flow, self._guess.seconds(form, length)).release()

    async def predict(
        self, body: bytes, form: Form, answer_form: Form, flow: Flow, query: bytes = b""
    ) -> bytes:
        """Answer one request of caller ``flow``; both bodies are encoded.

        ``query`` is that of the URL, for forms that have no place for what is asked.

        Raises:
            ForcegateError: what the answer is if it is not a prediction.
        """
        if not self._runtimes.available():
            raise nobody_evaluates()
        reservation = self.budget.reserve(flow, self._guess.seconds(form, len(body)))
        self._in_flight += 1
        try:
            return await self._predict(body, form, answer_form, flow, query, reservation)
        finally:
            self._in_flight -= 1
            reservation.release()

    async def _predict(
        self,
        body: bytes,
        form: Form,
        answer_form: Form,
        flow: Flow,
        query: bytes,
        reservation: Reservation,
    ) -> bytes:
        small = len(body) <= _INLINE_BYTES
        request, problems = await self._run(small, partial(self._decode, body, form, query))
        note_structures(len(request.structures))
        version = self.models.find(request.model, request.version)
        self.models.policy.require_approved(version.card)
        # Before anything is evaluated: without it there would be no answer.
        wanted = "force_uncertainty" in request.properties
        partner = self.models.partner(version.card) if wanted else None
        # A few atoms in a small cell may have many thousand images.
        quick = small and not np.count_nonzero(request.structures.pbc)
        with version.in_use(), nullcontext() if partner is None else partner.in_use():
            with Asked(self._dispatcher, version, flow) as asked:
                if quick:

                    def ready(prepared: Prepared) -> None:
                        reservation.change_to(prepared.seconds)
                        asked.submit(prepared.pieces)

                    prepared = await self._prepare_quickly(request, version, problems, ready)
                    seconds = prepared.seconds
                else:
                    begin = partial(self._begin, request, version, problems)
                    preparation = await self._run(False, begin)
                    while not preparation.complete:
                        pieces = await self._run(False, partial(self._step, preparation, version))
                        reservation.change_to(preparation.expected_s)
                        asked.submit(pieces)
                    prepared, seconds = preparation.prepared(), preparation.expected_s
                self._guess.learn(form, len(body), seconds)
                answers = await asked.answers(reservation)
            second = await self._asked_of(partner, prepared, flow, reservation)
            failed = failures(prepared, answers, version, second)
            remarks = self._remarks(request, version.card)
            answer = partial(
                self._answer,
                version.card,
                prepared,
                answers,
                second,
                failed,
                remarks,
                answer_form,
            )
            # What is counted is counted in the next turn of the loop: the answer leaves first.
            soon = asyncio.get_running_loop().call_soon
            try:
                encoded, structures, phases = await self._run(small, answer)
                soon(self.metrics.served, version.card, structures)
                soon(self.metrics.phases, phases, len(request.structures))
                return encoded
            finally:
                if self.observers:
                    soon(self._observe, Served(version.card, prepared, answers, failed, flow.key))

    async def _asked_of(
        self,
        partner: ServedVersion | None,
        prepared: Prepared,
        flow: Flow,
        reservation: Reservation,
    ) -> list[Answer]:
        """What answers are compared with, in the order of ``prepared``; none without a partner."""
        if partner is None:
            return []
        divided = partner.limit.pieces
        pieces = [cut for piece in prepared.pieces for cut in divided(piece.structures)]
        reservation.change_to(sum(piece.seconds for piece in pieces))
        with Asked(self._dispatcher, partner, flow) as asked:
            asked.submit(pieces)
            return await asked.answers(reservation)

    def _observe(self, seen: Served) -> None:
        for observer in self.observers:
            try:
                observer.served(seen)
            except Exception:
                logger.exception("%s failed on an answer", type(observer).__name__)

    def _unloaded(self, card: ModelCard) -> None:
        for observer in self.observers:
            if isinstance(observer, HearsOfUnloading):
                try:
                    observer.unloaded(card)
                except Exception:
                    logger.exception("%s failed on an unloaded model", type(observer).__name__)

    def _decode(self, body: bytes, form: Form, query: bytes) -> tuple[PredictRequest, Problems]:
        if form == JSON:
            return read_json(body, self.settings)
        if form == XYZ:
            return read_xyz(body, query, self.settings)
        request = decode_request(
            body,
            max_structures=self.settings.max_structures,
            max_atoms=self.settings.max_atoms,
        )
        return request, {}

    async def _prepare_quickly(
        self,
        request: PredictRequest,
        version: ServedVersion,
        problems: Problems,
        ready: Callable[[Prepared], None],
    ) -> Prepared:
        def alone() -> Prepared:
            with self._counting_what_is_refused(version.card):
                return prepare(request, version.card, version.limit, self.settings, problems)

        if not problems and self._in_flight > 1:
            return await self._jointly.prepare(request, version, alone, ready)
        prepared = alone()
        ready(prepared)
        return prepared

    def _begin(
        self, request: PredictRequest, version: ServedVersion, problems: Problems
    ) -> Preparation:
        with self._counting_what_is_refused(version.card):
            return Preparation(request, version.card, version.limit, self.settings, problems)

    def _step(self, preparation: Preparation, version: ServedVersion) -> list[Piece]:
        with self._counting_what_is_refused(version.card):
            return preparation.step()

    @contextmanager
    def _counting_what_is_refused(self, card: ModelCard) -> Iterator[None]:
        try:
            yield
        except ForcegateError as error:
            self.metrics.rejected(card, [error])
            raise

    def _remarks(self, request: PredictRequest, card: ModelCard) -> list[str]:
        """What is said of every structure of an answer by a version that nobody named."""
        if request.version is None and self.models.is_forced(card.name):
            return [
                f"{card.name} version {card.version} is not validated for any use; the operator of "
                "this server made it the default all the same"
            ]
        return []

    def _answer(
        self,
        card: ModelCard,
        prepared: Prepared,
        answers: list[Answer],
        partner: list[Answer],
        failed: dict[int, ForcegateError],
        remarks: list[str],
        form: Form,
    ) -> tuple[bytes, int, dict[str, float]]:
        """The encoded answer, the structures that have one in it, and the seconds by phase."""
        started = time.perf_counter()
        self.metrics.rejected(card, [*prepared.problems.values(), *failed.values()])
        away = [index for index, error in failed.items() if isinstance(error, RuntimeUnavailable)]
        if away:
            # No structure is to blame, and all of them deserve another try.
            raise failed[away[0]]
        if failed and prepared.request.on_error == "raise":
            raise failed[min(failed)]
        response = respond(prepared, answers, failed, card, remarks, partner)
        if form == JSON:
            body = write_json(response, prepared.request.ids)
        else:
            body = encode_response(response)
        phases = {**response.timing, "serialise_s": time.perf_counter() - started}
        return body, len(response.predictions.index), phases

    async def _run(self, inline: bool, function: Callable[[], T]) -> T:
        if inline:
            return function()
        # With the request's id, for whatever is logged there.
        within = copy_context().run
        return await asyncio.get_running_loop().run_in_executor(self._pool, within, function)
