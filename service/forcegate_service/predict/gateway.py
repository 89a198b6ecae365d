"""The gateway's life: what is loaded, what is there, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from forcegate_client.errors import ForcegateError, RuntimeUnavailable
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.errors import ModelAbsent, nobody_evaluates
from forcegate_service.models.registry import Registry
from forcegate_service.models.reloading import Reloaded, Serving
from forcegate_service.predict.flow import PredictFlow
from forcegate_service.predict.forms import Form
from forcegate_service.queue.admission import BodyBuffer, Budget, LoopLag
from forcegate_service.queue.dispatcher import Dispatcher
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.runtimes.choose import Runtimes
from forcegate_service.settings import Settings
from forcegate_service.watch.metrics.metrics import Metrics
from forcegate_service.watch.observer import HearsOfUnloading, Observer

__all__ = ["Gateway"]

logger = logging.getLogger(__name__)

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
        self.dispatcher = Dispatcher(self.metrics, runtimes.apart)
        self._serving = Serving(settings, runtimes.load, self.dispatcher, metrics, self._unloaded)
        self._flow = PredictFlow(
            *(settings, metrics, observers, self.models, self.budget),
            *(self.dispatcher, runtimes.apart),
        )
        self._looking: asyncio.Task[None] | None = None
        metrics.watch(
            admitted_s=lambda: self.budget.admitted_s,
            queued_s=lambda: max(0.0, self.budget.admitted_s - self.dispatcher.running_s),
            budget_s=lambda: self.budget.limit_s * runtimes.lanes(),
            available=runtimes.available,
        )

    @property
    def available(self) -> bool:
        """Whether anything could be evaluated now."""
        return self._runtimes.available()

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
        await self.dispatcher.close()
        self._flow.close()
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
        if not self.available:
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

    def require_room(self, form: Form, length: int, tenant: Tenant) -> None:
        """Refuse a body of ``length`` bytes before it is read; see ``PredictFlow``.

        Raises:
            TooManyRequests: with an advised wait.
        """
        self._flow.require_room(form, length, tenant)

    async def predict(
        self, body: bytes, form: Form, answer_form: Form, tenant: Tenant, query: bytes = b""
    ) -> bytes:
        """Answer one request of caller ``tenant``; both bodies are encoded.

        ``query`` is that of the URL, for forms that have no place for what is asked.

        Raises:
            ForcegateError: what the answer is if it is not a prediction.
        """
        if not self.available:
            raise nobody_evaluates()
        return await self._flow.predict(body, form, answer_form, tenant, query)

    def _unloaded(self, card: ModelCard) -> None:
        for observer in self.observers:
            if isinstance(observer, HearsOfUnloading):
                try:
                    observer.unloaded(card)
                except Exception:
                    logger.exception("%s failed on an unloaded model", type(observer).__name__)
