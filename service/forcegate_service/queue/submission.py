"""What one request asks of the dispatcher, microbatch by microbatch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType

from forcegate_service.queue.admission import Reservation
from forcegate_service.queue.dispatcher import Answer, Dispatcher
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.queue.microbatch import Microbatch
from forcegate_service.queue.version import ServedVersion

__all__ = ["Submission"]


class Submission:
    """The microbatches of a request that are evaluated, while others may still be in the making.

    A context manager: whatever is queued when it is left is given up.
    """

    def __init__(self, dispatcher: Dispatcher, version: ServedVersion, tenant: Tenant) -> None:
        self._dispatcher, self._version, self._tenant = dispatcher, version, tenant
        self._submitted: list[tuple[Microbatch, asyncio.Future[Answer]]] = []

    def submit(self, microbatches: Sequence[Microbatch]) -> None:
        """Queue ``microbatches`` behind those before."""
        for microbatch in microbatches:
            future = self._dispatcher.submit(self._version, microbatch, self._tenant)
            self._submitted.append((microbatch, future))

    async def answers(self, reservation: Reservation) -> list[Answer]:
        """One for each microbatch; what is done is given back to ``reservation``.

        Raises:
            RuntimeUnavailable: if nobody is there to evaluate them.
        """
        answers = []
        for microbatch, future in self._submitted:
            answers.append(await future)
            reservation.settle(microbatch.seconds)
        return answers

    def __enter__(self) -> Submission:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for _, future in self._submitted:
            # Without effect on what is done; takes the rest out of the queue.
            if not future.cancel() and not future.cancelled():
                # Asked for, because nobody else will: the first one that failed was enough.
                future.exception()
