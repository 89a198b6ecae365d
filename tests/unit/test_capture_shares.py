"""Nobody chooses what is learned: callers share the store, and each share is a fair sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from forcegate_client.dataset import load_dataset
from forcegate_service.watch.capture.sample import CaptureSample, Kept, Placed
from forcegate_service.watch.capture.store import Captured, CaptureStore


def sent_by(caller: str, numbers: Iterable[int], atoms: int = 6) -> list[Captured]:
    """Each of another shape, and of one of ten compositions."""
    found = []
    for number in numbers:
        elements = np.array([6] * atoms + [1] * (number % 10), dtype=np.int64)
        positions = np.random.default_rng(number).normal(0, 2.0, (len(elements), 3))
        why = {"reason": "novelty", "caller": caller, "number": number}
        found.append(Captured(elements, positions, why))
    return found


def store(folder: Path, structures: int, seed: int = 0) -> CaptureStore:
    return CaptureStore(folder, structures, 2**26, np.random.default_rng(seed))


def send(found: CaptureStore, structures: Sequence[Captured]) -> None:
    """As the gateway does, some at a time."""
    for start in range(0, len(structures), 32):
        added = found.add(structures[start : start + 32])
        assert not added.troubles


def reasons(folder: Path) -> list[dict[str, object]]:
    """Why each structure on the disk is there."""
    return [why for path in folder.glob("*.h5") for why in load_dataset(path).job["captured"]]


def held(folder: Path) -> Counter[object]:
    return Counter(why["caller"] for why in reasons(folder))


def test_whoever_filled_the_store_gives_way_to_the_others(tmp_path: Path) -> None:
    found = store(tmp_path, 90)
    send(found, sent_by("greedy", range(300)))
    assert held(tmp_path) == {"greedy": 90}
    send(found, sent_by("modest", range(1000, 1020)))
    assert held(tmp_path) == {"greedy": 70, "modest": 20}
    send(found, sent_by("third", range(2000, 2300)))
    # Twenty are all that one of them sent.
    assert held(tmp_path) == {"greedy": 35, "modest": 20, "third": 35}
    send(found, sent_by("greedy", range(3000, 3500)))
    assert held(tmp_path) == {"greedy": 35, "modest": 20, "third": 35}


def test_the_shares_hold_in_the_next_life_too(tmp_path: Path) -> None:
    send(store(tmp_path, 60), sent_by("greedy", range(200)))
    send(store(tmp_path, 60), sent_by("modest", range(1000, 1100)))
    assert held(tmp_path) == {"greedy": 30, "modest": 30}


def test_of_what_one_caller_sends_the_last_are_kept_as_often_as_the_first(tmp_path: Path) -> None:
    found = store(tmp_path, 100)
    send(found, sent_by("one", range(1000)))
    numbers = np.array([why["number"] for why in reasons(tmp_path)], dtype=float)
    assert len(numbers) == 100
    # The mean of 100 of 1,000 in no order is 500 ± 27; the first 100 would have 50.
    assert abs(numbers.mean() - 500) < 4 * 27
    assert (numbers < 250).sum() > 10
    assert (numbers >= 750).sum() > 10


def test_of_one_composition_too_the_last_are_kept_and_others_get_their_share(
    tmp_path: Path,
) -> None:
    found = store(tmp_path, 1000)
    send(found, sent_by("one", range(0, 4000, 10)))
    numbers = np.array([why["number"] for why in reasons(tmp_path)], dtype=float)
    assert len(numbers) == 100
    assert abs(numbers.mean() - 2000) < 4 * 115
    send(found, sent_by("two", range(10_000, 10_400, 10)))
    assert held(tmp_path) == {"one": 60, "two": 40}


def test_what_gave_way_is_told_and_may_come_again(tmp_path: Path) -> None:
    found = store(tmp_path, 10)
    send(found, sent_by("one", range(10)))
    added = found.add(sent_by("two", range(100, 105)))
    assert added.outcomes == [None] * 5
    assert [why["caller"] for why in added.evicted] == ["one"] * 5
    gone = [int(str(why["number"])) for why in added.evicted]
    assert not {why["number"] for why in reasons(tmp_path)} & set(gone)
    assert "duplicate" not in found.add(sent_by("one", gone)).outcomes


def test_the_coordinates_stay_with_their_reasons(tmp_path: Path) -> None:
    found = store(tmp_path, 80)
    structures = sent_by("one", range(300)) + sent_by("two", range(1000, 1300))
    send(found, structures)
    by_number = {one.why["number"]: one for one in structures}
    for path in tmp_path.glob("*.h5"):
        part = load_dataset(path)
        for frame, why in enumerate(part.job["captured"]):
            where, sent = part.atoms_of(frame), by_number[why["number"]]
            assert part.atomic_numbers[where].tolist() == sent.atomic_numbers.tolist()
            np.testing.assert_allclose(part.positions[where], sent.positions, atol=0.51e-4)


def test_files_that_were_taken_away_make_room_while_the_gateway_runs(tmp_path: Path) -> None:
    found = store(tmp_path, 70)
    send(found, sent_by("one", range(70)))
    for path in tmp_path.glob("*.h5"):
        path.unlink()
    assert found.add(sent_by("one", range(500, 520))).outcomes == [None] * 20
    assert held(tmp_path) == {"one": 20}


def test_a_part_that_was_damaged_meanwhile_is_left_alone_and_costs_nothing_new(
    tmp_path: Path,
) -> None:
    found = store(tmp_path, 70)
    send(found, sent_by("one", range(10)))
    (path,) = tmp_path.glob("*.h5")
    path.write_bytes(path.read_bytes()[:-100])
    damaged = path.read_bytes()
    added = found.add(sent_by("one", range(500, 505)))
    assert added.outcomes == [None] * 5
    assert len(added.troubles) == 1
    assert path.read_bytes() == damaged
    others = [other for other in tmp_path.glob("*.h5") if other != path]
    assert sum(len(load_dataset(other)) for other in others) == 5


@given(
    callers=st.lists(st.sampled_from("abcd"), min_size=1, max_size=120),
    sizes=st.lists(st.integers(1, 200), min_size=120, max_size=120),
    most=st.integers(1, 30),
    most_bytes=st.integers(50_000, 70_000),
)
def test_whatever_comes_in_whatever_order_the_bounds_and_the_shares_hold(
    callers: list[str], sizes: list[int], most: int, most_bytes: int
) -> None:
    sample = CaptureSample(most, most_bytes, np.random.default_rng(0))
    offered: Counter[str] = Counter()
    for number, (caller, size) in enumerate(zip(callers, sizes, strict=False)):
        kept = Kept(caller, f"c{number % 7}", str(number), size, {})
        offered[caller] += 1
        placed = sample.place(kept, f"part {number}")
        assert isinstance(placed, Placed) == sample.knows(str(number))
        everything = [one for part in sample.parts for one in sample.of_part(part)]
        assert len(everything) == len(sample) <= most
        needed = 49_152 * len(sample.parts) + sum(one.bytes for one in everything)
        assert needed <= most_bytes
    if most_bytes - 49_152 < most * (512 + 16 * 200):
        return
    shares = Counter(one.caller for part in sample.parts for one in sample.of_part(part))
    for caller, number in offered.items():
        assert shares[caller] >= min(number, most // len(offered))


def test_a_caller_without_a_share_of_anything_is_told_so() -> None:
    sample = CaptureSample(5, 1000)
    assert sample.place(Kept("a", "c", "f", 3, {}), "part") == "full"


def test_files_of_earlier_releases_name_no_caller_and_are_read(tmp_path: Path) -> None:
    old = [
        Captured(one.atomic_numbers, one.positions, {"reason": "novelty"})
        for one in sent_by("nobody", range(5))
    ]
    store(tmp_path, 5).add(old)
    send(store(tmp_path, 5), sent_by("new", range(10, 20)))
    assert Counter(why.get("caller") for why in reasons(tmp_path)) == {None: 2, "new": 3}
