"""The gateway's life and its main job: predictions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from forcegate_client.errors import ForcegateError, RuntimeUnavailable
from forcegate_client.messages import PredictRequest
from forcegate_client.wire import decode_request, encode_response
from forcegate_service.answers import failures, respond
from forcegate_service.dispatcher import Answer, Dispatcher
from forcegate_service.errors import ModelRefused
from forcegate_service.json_form import read_json, write_json
from forcegate_service.metrics import Metrics
from forcegate_service.negotiation import JSON, Form
from forcegate_service.preparation import Prepared, prepare
from forcegate_service.registry import Registry, load_version, version_folders
from forcegate_service.runtime import LoadedRuntime, RuntimeLoader
from forcegate_service.settings import Settings
from forcegate_service.validation import Problems

__all__ = ["Gateway"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

# Smaller bodies are done with before a thread would have been woken.
_INLINE_BYTES = 8192
_PREPARING_THREADS = 2


class Gateway:
    """Everything that lives as long as the server; made inside a running event loop."""

    def __init__(
        self,
        settings: Settings,
        load: RuntimeLoader,
        metrics: Metrics,
        give_back: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve with the runtimes that ``load`` opens; ``give_back`` is called when they end."""
        self.settings = settings
        self.models = Registry()
        self.metrics = metrics
        self.ready = False
        self.loading: asyncio.Task[None] | None = None
        self._load = load
        self._give_back = give_back
        self._dispatcher = Dispatcher(settings.batch_edges, self.metrics)
        self._pool = ThreadPoolExecutor(_PREPARING_THREADS, "forcegate-prepare")

    async def load_models(self) -> None:
        """Load and warm up every version in the repository; then the gateway is ready.

        Raises:
            ModelRefused: if not a single version can be served.
        """
        for folder in version_folders(self.settings.model_repository):
            started = time.perf_counter()
            try:
                runtime = await self._dispatcher.call(partial(load_version, folder, self._load))
            except ForcegateError as error:
                self.models.refuse(folder, error)
                continue
            self.models.add(runtime)
            self.metrics.loaded(runtime.card)
            logger.info(
                "serving %s version %s (%s, ready after %.1f s)",
                runtime.card.name,
                runtime.card.version,
                runtime.card.digest[:19],
                time.perf_counter() - started,
            )
        if not self.models.models:
            raise ModelRefused(
                f"{len(self.models.refused)} model versions, none of which can be served: "
                + "; ".join(refusal.reason for refusal in self.models.refused),
                expected="at least one good version",
                action="export a model, or set --model-repository",
            )
        self.ready = True

    async def close(self) -> None:
        """Finish queued work and give everything back."""
        self.ready = False
        await self._dispatcher.close()
        self._pool.shutdown()
        for runtime in self.models.runtimes():
            runtime.close()
        # It may wait for processes to end.
        await asyncio.to_thread(self._give_back)

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

    async def predict(self, body: bytes, form: Form, answer_form: Form) -> bytes:
        """Answer one request; both bodies are encoded.

        Raises:
            ForcegateError: what the answer is if it is not a prediction.
        """
        small = len(body) <= _INLINE_BYTES
        request, problems = await self._run(small, partial(self._decode, body, form))
        runtime = self.models.find(request.model, request.version)
        # A few atoms in a small cell may have many thousand images.
        quick = small and not request.structures.pbc.any()
        prepared = await self._run(quick, partial(self._prepare, request, runtime, problems))
        answers = await self._infer(runtime, prepared)
        return await self._run(
            small, partial(self._answer, runtime, prepared, answers, answer_form)
        )

    def _decode(self, body: bytes, form: Form) -> tuple[PredictRequest, Problems]:
        if form == JSON:
            return read_json(body, self.settings)
        request = decode_request(
            body,
            max_structures=self.settings.max_structures,
            max_atoms=self.settings.max_atoms,
        )
        return request, {}

    def _prepare(
        self, request: PredictRequest, runtime: LoadedRuntime, problems: Problems
    ) -> Prepared:
        try:
            return prepare(request, runtime.card, self.settings, problems)
        except ForcegateError as error:
            self.metrics.rejected(runtime.card, [error])
            raise

    async def _infer(self, runtime: LoadedRuntime, prepared: Prepared) -> list[Answer]:
        futures = [self._dispatcher.submit(runtime, piece) for piece in prepared.pieces]
        try:
            return [await future for future in futures]
        finally:
            # Without effect on what is done; takes the rest out of the queue.
            for future in futures:
                future.cancel()

    def _answer(
        self, runtime: LoadedRuntime, prepared: Prepared, answers: list[Answer], form: Form
    ) -> bytes:
        started = time.perf_counter()
        failed = failures(prepared, answers)
        self.metrics.rejected(runtime.card, [*prepared.problems.values(), *failed.values()])
        away = [index for index, error in failed.items() if isinstance(error, RuntimeUnavailable)]
        if away:
            # No structure is to blame, and all of them deserve another try.
            raise failed[away[0]]
        if failed and prepared.request.on_error == "raise":
            raise failed[min(failed)]
        response = respond(prepared, answers, failed, runtime.card)
        if form == JSON:
            body = write_json(response, prepared.request.ids)
        else:
            body = encode_response(response)
        self.metrics.served(runtime.card, len(response.predictions.index))
        self.metrics.phases(response.timing | {"serialise_s": time.perf_counter() - started})
        return body

    async def _run(self, inline: bool, function: Callable[[], T]) -> T:
        if inline:
            return function()
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)
