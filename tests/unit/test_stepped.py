"""A coroutine without a task ends once, however its end comes about."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context

import pytest

from forcegate_service.direct.stepped import Stepped

pytestmark = pytest.mark.anyio

name: ContextVar[str] = ContextVar("name", default="nobody")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Run:
    """A coroutine that waits for ``futures`` one after the other, and how it ended."""

    def __init__(self, *futures: asyncio.Future[str]) -> None:
        self.ends: list[tuple[str | None, BaseException | None]] = []
        self.context = copy_context()
        self.context.run(name.set, "somebody")
        self.stepped = Stepped(self.wait_for(*futures), self.ended, self.context)
        self.context.run(self.stepped.start)

    async def wait_for(self, *futures: asyncio.Future[str]) -> str:
        words = [await future for future in futures]
        return " ".join([*words, name.get()])

    def ended(self, result: str | None, error: BaseException | None) -> None:
        self.ends.append((result, error))


def futures(number: int) -> list[asyncio.Future[str]]:
    return [asyncio.get_running_loop().create_future() for _ in range(number)]


async def test_what_waits_for_nothing_ends_in_the_call_that_starts_it() -> None:
    assert Run().ends == [("somebody", None)]


async def test_it_goes_on_with_each_result_and_in_its_own_context() -> None:
    first, second = futures(2)
    run = Run(first, second)
    first.set_result("a")
    await asyncio.sleep(0)
    assert run.ends == []
    second.set_result("b")
    await asyncio.sleep(0)
    assert run.ends == [("a b somebody", None)]


async def test_an_error_is_raised_where_it_waits_and_the_future_given_up() -> None:
    (future,) = futures(1)
    run = Run(future)
    error = ValueError("enough")
    run.stepped.throw(error)
    assert run.ends == [(None, error)]
    assert future.cancelled()
    await asyncio.sleep(0)
    assert len(run.ends) == 1


async def test_a_result_of_the_turn_in_which_it_is_given_up_comes_too_late() -> None:
    (future,) = futures(1)
    run = Run(future)
    # From here on the loop is going to call back, whatever happens.
    future.set_result("a")
    error = ValueError("enough")
    run.stepped.throw(error)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert run.ends == [(None, error)]


async def test_what_has_ended_is_not_disturbed() -> None:
    run = Run()
    run.stepped.throw(ValueError("enough"))
    assert run.ends == [("somebody", None)]
