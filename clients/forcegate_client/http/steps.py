"""The steps of which a call to a server is made, and how a caller has them done.

A call is a generator: it yields what is to be done, takes the answer or the error, and returns what
the caller gets, or hands it out piece by piece. A client with an event loop and one without differ
in how they send and wait.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from forcegate_client.http.answers import Answer
from forcegate_client.http.http1 import Target

__all__ = [
    "Close",
    "Distrust",
    "Emit",
    "Flow",
    "Open",
    "Pause",
    "Read",
    "Send",
    "Step",
    "Stream",
    "each",
    "each_async",
    "run",
    "run_async",
]

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """One request; its result is an ``Answer``, or an error if none came."""

    target: Target
    request_id: str
    body: bytes | None


@dataclass(frozen=True)
class Open:
    """One request whose answer is read as it comes; its result is a ``Stream``, or an error."""

    target: Target
    request_id: str
    body: bytes


class Stream(Protocol):
    """An answer that is read as it comes; ``head`` has no content. On an event loop ``read`` and
    ``close`` are awaited.
    """

    head: Answer

    def read(self) -> Any:
        """What came next; nothing at the end."""

    def close(self) -> Any:
        """Read no more of it."""


@dataclass(frozen=True)
class Read:
    """Wait for more of an answer; the result is empty at its end."""

    stream: Stream


@dataclass(frozen=True)
class Close:
    """Read no more of an answer, whether there is more or not."""

    stream: Stream


@dataclass(frozen=True)
class Emit:
    """Hand something to the caller, and go on when the caller wants more."""

    item: Any


@dataclass(frozen=True)
class Pause:
    """Wait before the next attempt."""

    seconds: float


@dataclass(frozen=True)
class Distrust:
    """Ask nobody again on connections that have given a wrong answer."""


Step = Send | Open | Read | Close | Emit | Pause | Distrust
Flow = Generator[Step, Any, T]


class _Left(Exception):
    """The caller wants no more."""


def run(flow: Flow[T], perform: Callable[[Step], Any]) -> T:
    """What ``flow`` returns, each of its steps done by ``perform``."""
    try:
        step = next(flow)
        while True:
            try:
                result = perform(step)
            except BaseException as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def run_async(flow: Flow[T], perform: Callable[[Step], Awaitable[Any]]) -> T:
    """As ``run``, on an event loop."""
    try:
        step = next(flow)
        while True:
            try:
                result = await perform(step)
            except BaseException as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


def each(flow: Flow[None], perform: Callable[[Step], Any]) -> Generator[Any]:
    """What ``flow`` emits; if the caller closes this, ``flow`` ends in good order."""
    take: Callable[[], Step] = partial(next, flow)
    while True:
        try:
            step = take()
        except (StopIteration, _Left):
            return
        try:
            if isinstance(step, Emit):
                yield step.item
                result = None
            else:
                result = perform(step)
        except GeneratorExit:
            take = partial(flow.throw, _Left())
        except BaseException as error:
            take = partial(flow.throw, error)
        else:
            take = partial(flow.send, result)


async def each_async(
    flow: Flow[None], perform: Callable[[Step], Awaitable[Any]]
) -> AsyncGenerator[Any]:
    """As ``each``, on an event loop."""
    take: Callable[[], Step] = partial(next, flow)
    while True:
        try:
            step = take()
        except (StopIteration, _Left):
            return
        try:
            if isinstance(step, Emit):
                yield step.item
                result = None
            else:
                result = await perform(step)
        except GeneratorExit:
            take = partial(flow.throw, _Left())
        except BaseException as error:
            take = partial(flow.throw, error)
        else:
            take = partial(flow.send, result)
