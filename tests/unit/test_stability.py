"""The population stability index is a distance, and a window forgets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forcegate_service.watch.novelty.window import SlidingCounts, population_stability_index

BINS = 6
COUNTS = arrays(np.int64, BINS, elements=st.integers(0, 10_000)).filter(np.any)
# Of logarithms of shares.
ROUNDING = 1e-12
HOUR = 3600.0


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now


@given(counts=COUNTS, factor=st.integers(1, 1000))
def test_a_distribution_is_at_no_distance_from_itself_however_often_it_was_drawn(
    counts: np.ndarray, factor: int
) -> None:
    assert population_stability_index(counts, counts) == 0.0
    assert population_stability_index(counts, factor * counts) == pytest.approx(0.0, abs=ROUNDING)


@given(counts=COUNTS, other=COUNTS)
def test_it_does_not_matter_which_of_two_distributions_is_the_first(
    counts: np.ndarray, other: np.ndarray
) -> None:
    there, back = (population_stability_index(*pair) for pair in ((counts, other), (other, counts)))
    assert there == pytest.approx(back, abs=ROUNDING)
    assert there >= 0.0
    assert np.isfinite(there)


@given(counts=COUNTS, other=COUNTS, shares=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_it_grows_the_more_of_a_distribution_is_replaced_by_another(
    counts: np.ndarray, other: np.ndarray, shares: list[float]
) -> None:
    p, q = counts / counts.sum(), other / other.sum()
    less, more = (population_stability_index(p, (1 - t) * p + t * q) for t in shares)
    assert less <= more + ROUNDING


def test_an_empty_bin_costs_what_the_docstring_says() -> None:
    tenth = population_stability_index([90] + 10 * [1] + 10 * [0], [100] + 10 * [0] + 10 * [0])
    at_once = population_stability_index([90, 10] + 19 * [0], [100] + 20 * [0])
    assert 0.7 < at_once < 0.8
    assert tenth < at_once


@pytest.mark.parametrize("pair", [([0, 0], [1, 2]), ([1, 2], [0, 0]), ([1], [1, 2])])
def test_nothing_is_said_of_nothing(pair: tuple[list[int], list[int]]) -> None:
    with pytest.raises(ValueError, match="expected the same bins, and something in them"):
        population_stability_index(*pair)


def test_a_window_holds_what_came_within_it_and_forgets_the_rest() -> None:
    clock = Clock()
    window = SlidingCounts(2, HOUR, clock)
    window.add(np.array([3, 0]), 1)
    clock.now += HOUR / 2
    window.add(np.array([0, 5]), 2)
    assert window.counts.tolist() == [3, 5]
    assert window.structures == 3
    clock.now += HOUR / 2
    assert window.counts.tolist() == [0, 5]
    assert window.structures == 2
    clock.now += 1000 * HOUR
    assert window.counts.tolist() == [0, 0]
    assert window.structures == 0


@given(
    steps=st.lists(st.tuples(st.floats(0.0, 2 * HOUR), st.integers(0, 50)), min_size=1, max_size=40)
)
def test_a_window_reaches_back_between_eleven_twelfths_of_its_length_and_the_whole(
    steps: list[tuple[float, int]],
) -> None:
    clock = Clock()
    window = SlidingCounts(1, HOUR, clock)
    came: list[tuple[float, int]] = []
    for pause, count in steps:
        clock.now += pause
        window.add(np.array([count]), count)
        came.append((clock.now, count))
        surely = sum(n for at, n in came if clock.now - at < HOUR * 11 / 12 - 1e-3)
        perhaps = sum(n for at, n in came if clock.now - at < HOUR + 1e-3)
        assert surely <= window.structures <= perhaps
        assert window.counts.tolist() == [window.structures]


def test_memory_of_a_window_does_not_grow_over_a_million_observations() -> None:
    clock = Clock()
    window = SlidingCounts(100, HOUR, clock)
    before = window.nbytes
    one = np.ones(100, dtype=np.int64)
    for k in range(1_000_000 // 50):
        clock.now += 1.0
        window.add(50 * one, 50)
        if k == 10_000:
            assert window.structures == pytest.approx(50 * HOUR, rel=1 / 12)
    assert window.nbytes == before < 20_000
    assert window.structures == pytest.approx(50 * HOUR, rel=1 / 12)
