"""Bodies are bounded together, and one alone never."""

from __future__ import annotations

import pytest

from forcegate_client.errors import TooManyRequests
from forcegate_service.queue.admission import BodyBuffer


def test_what_all_hold_is_bounded_and_given_back() -> None:
    buffer = BodyBuffer(100)
    with buffer.holding() as first, buffer.holding() as second:
        first(60)
        second(40)
        with pytest.raises(TooManyRequests) as refused:
            second(1)
        assert refused.value.retry_after_s
        with pytest.raises(TooManyRequests):
            first(1)
        assert buffer.held == 100
    assert buffer.held == 0


def test_one_body_alone_is_never_refused() -> None:
    buffer = BodyBuffer(100)
    with buffer.holding() as take:
        for _ in range(5):
            take(60)
        with buffer.holding() as other, pytest.raises(TooManyRequests):
            other(1)
    assert buffer.held == 0


def test_what_is_held_is_given_back_whatever_happens() -> None:
    buffer = BodyBuffer(100)
    with buffer.holding() as take:
        take(60)
        with pytest.raises(TooManyRequests), buffer.holding() as other:
            other(60)
        assert buffer.held == 60
    assert buffer.held == 0
