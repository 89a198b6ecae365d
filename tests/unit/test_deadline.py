"""An answer is wanted until its deadline, and while somebody is there to read it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from forcegate_client.errors import DeadlineExceeded, UnprocessableRequest
from forcegate_service.api import deadline
from forcegate_service.api.deadline import Patience, requested_timeout

pytestmark = pytest.mark.anyio

# Longer than anything here lasts.
LONG_S = 60.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Caller:
    """What a server hears of one: nothing, until it says something."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.listened_to = 0

    def says(self, kind: str) -> None:
        self.messages.put_nowait({"type": kind})

    async def receive(self) -> dict[str, Any]:
        self.listened_to += 1
        return await self.messages.get()


async def answered(caller: Caller, seconds: float, during: Callable[[Patience], Any]) -> None:
    async with Patience(caller.receive, seconds) as waiting:
        result = during(waiting)
        if result is not None:
            await result
        await asyncio.sleep(LONG_S)


@pytest.mark.parametrize("seconds", [0.001, 0.05])
async def test_what_takes_too_long_is_given_up(seconds: float) -> None:
    with pytest.raises(DeadlineExceeded, match=rf"within {seconds:g} s.*X-Request-Timeout"):
        await answered(Caller(), seconds, lambda waiting: waiting.body_read())


async def test_nobody_listens_for_a_caller_whose_answer_comes_at_once() -> None:
    caller = Caller()
    async with Patience(caller.receive, LONG_S) as waiting:
        waiting.body_read()
    await asyncio.sleep(2 * deadline._SOON_S)
    assert caller.listened_to == 0


async def test_a_caller_that_goes_away_is_noticed_while_its_answer_is_made() -> None:
    caller = Caller()

    def during(waiting: Patience) -> None:
        waiting.body_read()
        caller.says("http.disconnect")

    with pytest.raises(ClientDisconnect):
        await answered(caller, LONG_S, during)


async def test_only_going_away_ends_the_patience() -> None:
    caller = Caller()
    caller.says("http.request")
    async with Patience(caller.receive, LONG_S) as waiting:
        waiting.body_read()
        await asyncio.sleep(3 * deadline._SOON_S)
    assert caller.listened_to == 2


async def test_while_the_body_is_read_nobody_else_takes_its_messages() -> None:
    caller = Caller()

    async def during(waiting: Patience) -> None:
        await asyncio.sleep(3 * deadline._SOON_S)
        assert caller.listened_to == 0
        waiting.body_read()
        caller.says("http.disconnect")

    with pytest.raises(ClientDisconnect):
        await answered(caller, LONG_S, during)


async def test_the_first_reason_counts() -> None:
    caller = Caller()

    async def during(waiting: Patience) -> None:
        waiting.body_read()
        waiting._expire()
        caller.says("http.disconnect")
        await asyncio.sleep(3 * deadline._SOON_S)

    with pytest.raises(DeadlineExceeded):
        await answered(caller, LONG_S, during)


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    caller = Caller()
    task = asyncio.create_task(answered(caller, LONG_S, lambda waiting: waiting.body_read()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_from_elsewhere_wins_over_a_deadline() -> None:
    async def during(waiting: Patience) -> None:
        waiting._expire()
        task.cancel()

    task = asyncio.create_task(answered(Caller(), LONG_S, during))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_answer_is_not_covered_up() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Patience(Caller().receive, LONG_S):
            raise ZeroDivisionError


async def test_nothing_is_left_behind() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(DeadlineExceeded):
        await answered(Caller(), 0.03, lambda waiting: waiting.body_read())
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    # A timer that still ran would cancel whoever came after.
    await asyncio.sleep(0.05)


@pytest.mark.parametrize(("text", "seconds"), [("2", 2.0), ("0.5", 0.5), ("1e9", 30.0)])
def test_a_caller_may_ask_for_less_time_but_not_for_more(text: str, seconds: float) -> None:
    assert requested_timeout({"x-request-timeout": text}, 30.0) == seconds


def test_without_the_header_all_the_time_is_taken() -> None:
    assert requested_timeout({}, 30.0) == 30.0


@pytest.mark.parametrize("text", ["", "soon", "0", "-1", "nan", "inf", "1" * 5000])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UnprocessableRequest, match="X-Request-Timeout") as refused:
        requested_timeout({"x-request-timeout": text}, 30.0)
    assert refused.value.code == "request_timeout_invalid"
    assert len(str(refused.value)) < 300
