"""What one request asks of the dispatcher, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType

from forcegate_service.queue.admission import Reservation
from forcegate_service.queue.dispatcher import Answer, Dispatcher
from forcegate_service.queue.fair_queue import Flow
from forcegate_service.queue.microbatch import Piece
from forcegate_service.queue.version import ServedVersion

__all__ = ["Asked"]


class Asked:
    """The pieces of a request that are evaluated, while others may still be in the making.

    A context manager: whatever is queued when it is left is given up.
    """

    def __init__(self, dispatcher: Dispatcher, version: ServedVersion, flow: Flow) -> None:
        self._dispatcher, self._version, self._flow = dispatcher, version, flow
        self._submitted: list[tuple[Piece, asyncio.Future[Answer]]] = []

    def submit(self, pieces: Sequence[Piece]) -> None:
        """Queue ``pieces`` behind those before."""
        for piece in pieces:
            future = self._dispatcher.submit(self._version, piece, self._flow)
            self._submitted.append((piece, future))

    async def answers(self, reservation: Reservation) -> list[Answer]:
        """One for each piece; what is done is given back to ``reservation``.

        Raises:
            RuntimeUnavailable: if nobody is there to evaluate them.
        """
        answers = []
        for piece, future in self._submitted:
            answers.append(await future)
            reservation.settle(piece.seconds)
        return answers

    def __enter__(self) -> Asked:
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
