"""One small prediction, from the bytes of its request to those of its answer."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context

from starlette.requests import ClientDisconnect

from forcegate_client.errors import DeadlineExceeded, ForcegateError
from forcegate_service.access.caller import Access, Caller
from forcegate_service.body import declared_length
from forcegate_service.context import RAW_REQUEST_DIGEST, RAW_REQUEST_ID, account, request_id
from forcegate_service.direct.head import Head
from forcegate_service.direct.stepped import Stepped
from forcegate_service.gateway import Gateway
from forcegate_service.handlers.predict import PATH
from forcegate_service.logs import current_request_id
from forcegate_service.negotiation import Form
from forcegate_service.patience import out_of_time
from forcegate_service.problems import problem_response, server_fault, stopped
from forcegate_service.request_record import RequestRecord, current_record, note_digest
from forcegate_service.scheduling.flow import Flow
from forcegate_service.terms import Terms, flow_of

__all__ = ["Exchange", "Reply"]

logger = logging.getLogger(__name__)

# Status, headers and body.
Reply = Callable[[int, Sequence[tuple[bytes, bytes]], bytes], None]
_GONE = 499


class Exchange:
    """Answers one request, whose body is there; then calls ``reply``, or ``gone`` without one.

    It does what the route's handler does, step by step, without a task for it.
    """

    def __init__(
        self,
        gateway: Gateway,
        access: Access,
        head: Head,
        client: tuple[str, int] | None,
        reply: Reply,
        gone: Callable[[], None],
    ) -> None:
        self._gateway, self._access = gateway, access
        self._head, self._client = head, client
        self._reply, self._gone = reply, gone
        self._caller: Caller | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answering: Stepped[bytes] | None = None
        self._form: Form | None = None
        self._record = RequestRecord()

    def begin(self, body: bytes) -> None:
        """Answer at once what can be answered at once; the rest follows from the event loop."""
        self._started = time.perf_counter()
        self._id = request_id(self._head.pairs)
        self._context = copy_context()
        self._context.run(self._begin, body)

    def give_up(self) -> None:
        """The caller has gone."""
        self._throw(ClientDisconnect())

    def cancel(self, msg: object = None) -> bool:
        """The server stops and waits no longer; as a task is told.

        Like a task it ends in the next turn of the loop: the server is going through a set from
        which it then takes itself.
        """
        error = asyncio.CancelledError(msg)
        asyncio.get_running_loop().call_soon(self._throw, error)
        return True

    def _begin(self, body: bytes) -> None:
        current_request_id.set(self._id.decode("ascii"))
        current_record.set(self._record)
        try:
            self._caller = caller = self._access.identify(self._head.headers)
            self._access.require(caller, "predict")
            terms = self._head.terms(self._gateway.settings)
            self._gateway.require_ready()
            declared_length(self._head.headers, terms.limit)
        except Exception as error:
            self._end(None, error)
            return
        self._form = terms.answer
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(terms.timeout_s, self._expire, terms.timeout_s)
        work = self._predict(body, terms, flow_of(caller, self._client))
        self._answering = Stepped(work, self._end, self._context)
        self._answering.start()

    async def _predict(self, body: bytes, terms: Terms, flow: Flow) -> bytes:
        with self._gateway.bodies.holding() as take:
            take(len(body))
            note_digest(hashlib.sha256(body).hexdigest())
            return await self._gateway.predict(body, terms.form, terms.answer, flow)

    def _expire(self, seconds: float) -> None:
        self._throw(out_of_time(seconds))

    def _throw(self, error: BaseException) -> None:
        if self._answering is not None:
            self._answering.throw(error)

    def _end(self, content: bytes | None, error: BaseException | None) -> None:
        self._answering = None
        if self._timer is not None:
            self._timer.cancel()
        if content is not None:
            assert self._form is not None
            status, body = 200, content
            head = [
                (b"content-type", self._form.encode("ascii")),
                (b"content-length", str(len(content)).encode("ascii")),
            ]
        elif isinstance(error, ClientDisconnect):
            self._gateway.metrics.requests.cancelled("disconnect")
            self._account(_GONE)
            self._gone()
            return
        else:
            response = problem_response(self._told(error))
            status, body = response.status_code, bytes(response.body)
            head = response.raw_headers
        head.append((RAW_REQUEST_ID, self._id))
        if self._record.digest is not None:
            head.append((RAW_REQUEST_DIGEST, self._record.digest))
        self._reply(status, head, body)
        # After it has left.
        self._account(status)

    def _told(self, error: BaseException | None) -> ForcegateError:
        if isinstance(error, ForcegateError):
            if isinstance(error, DeadlineExceeded):
                self._gateway.metrics.requests.cancelled("deadline")
            return error
        if isinstance(error, asyncio.CancelledError):
            return stopped()
        logger.error("request %s failed", current_request_id.get(), exc_info=error)
        return server_fault()

    def _account(self, status: int) -> None:
        duration_s = time.perf_counter() - self._started
        account(self._gateway.metrics, "POST", PATH, status, duration_s, self._caller)
