"""Predicted seconds, admission, turns: the rules, without a server and without a clock."""

import asyncio
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forcegate_client.errors import TooManyRequests
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_service.contract.size import GraphSize, size_of
from forcegate_service.contract.structures import merge, slice_structures
from forcegate_service.queue.admission import Budget, LengthGuess, LoopLag
from forcegate_service.queue.cost import CostModel, Timing
from forcegate_service.queue.fair_queue import FairQueue, Tenant
from forcegate_service.queue.microbatch import BatchLimit

ANN, BOB = Tenant("ann", "1"), Tenant("bob", "1")


def _waters(count: int) -> Graph:
    """``count`` waters of 3 atoms and 6 edges, no two alike."""
    positions = [[[0, 0, 0], [0.9 + 0.001 * k, 0, 0], [-0.24, 0.93, 0]] for k in range(count)]
    batch = StructureBatch.from_arrays(
        n_atoms=[3] * count,
        atomic_numbers=[8, 1, 1] * count,
        positions=np.array(positions, dtype=np.float64).reshape(-1, 3),
    )
    return build_graph(batch, 5.0)


class TestCostModel:
    def test_the_law_that_made_the_timings_is_found(self) -> None:
        timings = [
            Timing(
                GraphSize(atoms, edges, pairs),
                1e-4 + 1e-5 * atoms + 1e-6 * edges + 1e-8 * pairs,
            )
            for atoms, edges, pairs in (
                (3, 6, 3),
                (24, 48, 24),
                (96, 192, 96),
                (96, 30, 96),
                (24, 4, 24),
                (96, 192, 4560),
            )
        ]
        cost = CostModel.fitted(timings)
        assert cost.base_s == pytest.approx(1e-4, rel=1e-6)
        size = GraphSize(200.0, 3000.0, 19900.0)
        assert cost.marginal(size) == pytest.approx(2e-3 + 3e-3 + 1.99e-4, rel=1e-6)

    def test_coefficients_are_never_negative(self) -> None:
        cost = CostModel.fitted(
            [
                Timing(GraphSize(1, 0, 0), 1e-3),
                Timing(GraphSize(10, 90, 0), 1e-3),
                Timing(GraphSize(100, 900, 0), 5e-4),
            ]
        )
        assert cost.base_s >= 0.0
        assert cost.marginal(GraphSize(1.0, 0.0, 0.0)) >= 0.0
        assert cost.marginal(GraphSize(0.0, 1.0, 0.0)) >= 0.0

    def test_batches_that_take_longer_teach_it_and_one_freak_does_not_ruin_it(self) -> None:
        cost = CostModel(0.0, 0.0, 1e-6)
        size = GraphSize(0.0, 1000.0, 0.0)
        cost.observe(Timing(size, 1e3))
        assert cost.marginal(size) < 1e-2
        for _ in range(200):
            cost.observe(Timing(size, 5e-3))
        assert cost.marginal(size) == pytest.approx(5e-3, rel=0.01)


class TestBudget:
    def test_work_is_admitted_until_the_budget_is_spent_and_again_when_some_is_done(self) -> None:
        budget = Budget(10.0)
        first, second = budget.reserve(ANN, 4.0), budget.reserve(ANN, 5.0)
        with pytest.raises(TooManyRequests):
            budget.reserve(ANN, 2.0)
        first.settle(1.0)
        third = budget.reserve(ANN, 2.0)
        assert budget.admitted_s == pytest.approx(10.0)
        for one in (first, second, third):
            one.release()
            one.release()
        assert budget.admitted_s == 0.0

    @pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
    def test_the_advised_wait_is_about_the_time_that_the_queue_takes(self, jitter: float) -> None:
        budget = Budget(10.0, lambda: jitter)
        budget.reserve(ANN, 8.0)
        with pytest.raises(TooManyRequests) as refused:
            budget.reserve(ANN, 4.0)
        assert refused.value.retry_after_s is not None
        assert 0.5 <= refused.value.retry_after_s / 8.0 <= 2.0

    def test_who_asks_for_little_gets_in_beside_who_has_spent_it_all(self) -> None:
        budget = Budget(10.0)
        budget.reserve(ANN, 9.99)
        with pytest.raises(TooManyRequests):
            budget.reserve(ANN, 0.1)
        little = budget.reserve(BOB, 0.1)
        with pytest.raises(TooManyRequests):
            budget.reserve(BOB, 5.0)
        little.release()

    def test_many_connections_get_no_more_than_one_of_another_caller(self) -> None:
        budget = Budget(10.0)
        budget.reserve(ANN, 9.99)
        got = 0.0
        for connection in range(200):
            try:
                budget.reserve(Tenant("bob", str(connection)), 0.05)
            except TooManyRequests:
                break
            got += 0.05
        assert got <= 5.0
        # Whoever comes next still has a share of its own.
        budget.reserve(Tenant("eve", "1"), 0.5)

    def test_what_is_larger_than_the_budget_gets_in_beside_light_work(self) -> None:
        budget = Budget(10.0)
        budget.reserve(BOB, 0.1)
        budget.reserve(ANN, 60.0)
        with pytest.raises(TooManyRequests):
            budget.reserve(ANN, 1.0)

    def test_a_guess_that_proves_too_small_is_refused_and_keeps_nothing(self) -> None:
        budget = Budget(10.0)
        budget.reserve(ANN, 9.0)
        guess = budget.reserve(ANN, 0.5)
        with pytest.raises(TooManyRequests):
            guess.change_to(4.0)
        assert budget.admitted_s == pytest.approx(9.0)

    def test_time_that_is_lost_elsewhere_is_not_given_away(self) -> None:
        lost = 0.0
        budget = Budget(10.0, lambda: 0.5, lambda: lost)
        budget.reserve(ANN, 2.0)
        lost = 7.5
        with pytest.raises(TooManyRequests) as refused:
            budget.reserve(ANN, 1.0)
        assert refused.value.retry_after_s == pytest.approx(0.85 * 9.5)
        # Shares are of what is left.
        budget.reserve(BOB, 1.2).release()
        with pytest.raises(TooManyRequests):
            budget.reserve(BOB, 1.3)
        lost = 0.0
        budget.reserve(ANN, 1.0)

    @given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 20)), max_size=60))
    def test_whatever_is_asked_what_waits_is_bounded(self, asked: list[tuple[int, float]]) -> None:
        budget = Budget(10.0)
        for who, seconds in asked:
            try:
                budget.reserve(Tenant(str(who), "1"), seconds)
            except TooManyRequests:
                assert budget.admitted_s > 0.0
        # The budget, a request that is larger than it, and equal shares of it.
        assert budget.admitted_s <= 10.0 + 20.0 + 10.0


class TestLoopLag:
    def test_a_loop_that_was_held_up_is_behind_and_recovers(self) -> None:
        async def look() -> tuple[float, float, float]:
            lag = LoopLag()
            await asyncio.sleep(0.2)
            time.sleep(0.5)
            at_once = lag.seconds
            await asyncio.sleep(0)
            await asyncio.sleep(0.06)
            soon = lag.seconds
            async with asyncio.timeout(60):
                while lag.seconds:
                    await asyncio.sleep(0.05)
            lag.stop()
            return at_once, soon, lag.seconds

        at_once, soon, _ = asyncio.run(look())
        # Waited for when it comes, and again with its answer.
        assert at_once >= 2 * (0.5 - 0.05)
        assert soon >= 0.8 * 0.8 * 2 * (0.5 - 0.05)

    def test_a_process_that_was_stopped_for_hours_sends_nobody_away_for_hours(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def look() -> float:
            lag = LoopLag()
            loop = asyncio.get_running_loop()
            now = loop.time
            monkeypatch.setattr(loop, "time", lambda: now() + 7200.0)
            away = lag.seconds
            lag.stop()
            return away

        assert asyncio.run(look()) == 2 * 5.0


class TestFairQueue:
    def test_items_of_one_caller_fill_batches_in_order(self) -> None:
        queue: FairQueue[int] = FairQueue()
        for k in range(10):
            queue.push(ANN, 0.3, k)
        assert [queue.pack() for _ in range(4)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
        assert not queue

    def test_a_single_structure_is_in_the_next_batch_but_one_beside_a_campaign(self) -> None:
        queue: FairQueue[str] = FairQueue()
        for _ in range(50):
            queue.push(ANN, 0.98, "campaign")
        for _ in range(20):
            queue.push(BOB, 0.02, "step")
            assert "step" in queue.pack() + queue.pack()

    def test_connections_of_one_caller_take_turns(self) -> None:
        queue: FairQueue[str] = FairQueue()
        for _ in range(50):
            queue.push(Tenant("ann", "campaign"), 0.98, "campaign")
        queue.push(Tenant("ann", "run"), 0.02, "step")
        assert "step" in queue.pack() + queue.pack()

    def test_callers_get_the_same_time_whatever_the_size_of_their_items(self) -> None:
        queue: FairQueue[tuple[str, float]] = FairQueue()
        shares = {"small": 0.01, "middle": 0.4, "large": 1.0, "huge": 3.0}
        for name, share in shares.items():
            for _ in range(round(100 / share)):
                queue.push(Tenant(name, "1"), share, (name, share))
        got: Counter[str] = Counter()
        while sum(got.values()) < 120:
            batch = queue.pack()
            assert sum(share for _, share in batch) <= 1.0 + 1e-9 or len(batch) == 1
            for name, share in batch:
                got[name] += share
        assert max(got.values()) - min(got.values()) <= 2 * 3.0

    def test_who_was_alone_with_large_items_owes_nothing(self) -> None:
        queue: FairQueue[str] = FairQueue()
        for _ in range(10):
            queue.push(ANN, 5.0, "ann")
        for _ in range(9):
            assert queue.pack() == ["ann"]
        for _ in range(30):
            queue.push(BOB, 1.0, "bob")
        assert "ann" in [item for _ in range(10) for item in queue.pack()]

    def test_what_is_not_wanted_any_more_takes_no_room(self) -> None:
        queue: FairQueue[int] = FairQueue()
        for k in range(10):
            queue.push(ANN, 0.5, k)
        assert queue.pack(lambda k: k in (3, 7)) == [3, 7]
        assert not queue

    @given(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.sampled_from("12"), st.floats(0, 3)), max_size=80
        )
    )
    def test_nothing_is_lost_and_nothing_comes_twice(
        self, items: list[tuple[str, str, float]]
    ) -> None:
        queue: FairQueue[int] = FairQueue()
        for k, (caller, connection, share) in enumerate(items):
            queue.push(Tenant(caller, connection), share, k)
        packed = []
        while queue:
            batch = queue.pack()
            assert batch
            assert len(batch) == 1 or sum(items[k][2] for k in batch) <= 1.0 + 1e-9
            packed += batch
        assert sorted(packed) == list(range(len(items)))
        of_line = Counter[tuple[str, str]]()
        for k in packed:
            assert k >= of_line[items[k][:2]]
            of_line[items[k][:2]] = k


class TestBatchLimit:
    @given(st.integers(1, 40), st.floats(1e-4, 1e-1), st.integers(1, 400))
    def test_pieces_are_the_whole_and_fill_a_batch_at_most(
        self, count: int, target_s: float, load: int
    ) -> None:
        graph = slice_structures(_waters(count), 0, count)
        limit = BatchLimit(CostModel(1e-4, 1e-4, 1e-5), target_s, load)
        microbatches = limit.microbatches(graph)
        merged = merge([microbatch.structures for microbatch in microbatches])
        for name, mine in vars(merged).items():
            assert np.array_equal(mine, getattr(graph, name))
        for microbatch in microbatches:
            size = size_of(microbatch.structures)
            assert microbatch.share >= (size.atoms + size.edges) / load
            assert microbatch.seconds >= limit.cost.marginal(size)
            assert len(microbatch.structures.n_atoms) == 1 or microbatch.share <= 1.0 + 1e-9

    def test_seconds_or_memory_whichever_is_scarcer_ends_a_piece(self) -> None:
        cost = CostModel(0.0, 0.0, 1e-3)
        by_time = BatchLimit(cost, 0.018, 10**6).microbatches(_waters(10))
        assert [len(microbatch.structures.n_atoms) for microbatch in by_time] == [3, 3, 3, 1]
        by_load = BatchLimit(cost, 1e3, 30).microbatches(_waters(10))
        assert [len(microbatch.structures.n_atoms) for microbatch in by_load] == [3, 3, 3, 1]

    def test_a_version_that_is_slower_than_the_target_still_gets_batches(self) -> None:
        limit = BatchLimit(CostModel(1.0, 1e-4, 1e-4), 0.05, 10**6)
        assert len(limit.microbatches(_waters(20))) < 20


def test_the_guess_by_length_learns_the_pace_of_each_form() -> None:
    guess = LengthGuess()
    for _ in range(300):
        guess.learn("application/msgpack", 1000, 0.02)
        guess.learn("application/json", 1000, 0.005)
    assert guess.seconds("application/msgpack", 500) == pytest.approx(0.01, rel=0.01)
    assert guess.seconds("application/json", 500) == pytest.approx(0.0025, rel=0.01)
