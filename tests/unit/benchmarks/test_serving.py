"""How servers are asked, what is claimed of them, and when nothing is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from forcegate_bench.load.dialects import forcegate_json, forcegate_msgpack, peer_json, peer_raw
from forcegate_bench.load.record import Outcomes
from forcegate_bench.load.traffic import Traffic
from forcegate_bench.machine import procfs
from forcegate_bench.machine.cores import layouts, on_core
from forcegate_bench.machine.procfs import growth
from forcegate_bench.report.rows import at_least, if_calm, plain
from forcegate_bench.serving.serving_peers import Columns, comparisons
from forcegate_client.messages import Predictions, PredictResponse
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import decode_request, encode_response

linux = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="Linux tells it in /proc")

WATER = StructureBatch.from_arrays(
    n_atoms=[3],
    atomic_numbers=[8, 1, 1],
    positions=[[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]],
)
FORCES = np.arange(9.0).reshape(3, 3)


class TestDialects:
    def test_msgpack_is_the_clients_own_wire_format(self) -> None:
        dialect = forcegate_msgpack("painn_base")
        request = decode_request(dialect.encode(WATER))
        assert request.model == "painn_base"
        np.testing.assert_array_equal(request.structures.positions, WATER.positions)
        index = np.zeros(1, dtype=np.int64)
        predictions = Predictions(index, WATER.n_atoms, np.array([-1.5]), FORCES)
        response = PredictResponse("painn_base", "1", "sha256:0", {}, predictions)
        energy, forces = dialect.decode(encode_response(response))
        assert energy.tolist() == [-1.5]
        np.testing.assert_array_equal(forces, FORCES)

    def test_json_says_the_same_in_words(self) -> None:
        dialect = forcegate_json("painn_base")
        message = json.loads(dialect.encode(StructureBatch.concatenate([WATER, WATER])))
        assert [one["atomic_numbers"] for one in message["structures"]] == 2 * [[8, 1, 1]]
        results = [{"energy": -1.5, "forces": FORCES.tolist()}] * 2
        energy, forces = dialect.decode(json.dumps({"results": results}).encode())
        assert energy.tolist() == [-1.5, -1.5]
        assert forces.shape == (6, 3)

    def test_peers_are_told_numbers_and_positions_and_nothing_else(self) -> None:
        assert json.loads(peer_json("/json").encode(WATER)) == {
            "atomic_numbers": [8, 1, 1],
            "positions": WATER.positions.tolist(),
        }
        raw = peer_raw("/raw").encode(WATER)
        assert raw[:7] == b"\x03\x00\x00\x00\x08\x01\x01"
        np.testing.assert_array_equal(np.frombuffer(raw[7:]).reshape(-1, 3), WATER.positions)
        energy, forces = peer_raw("/raw").decode(np.float64(-1.5).tobytes() + FORCES.tobytes())
        assert energy.tolist() == [-1.5]
        np.testing.assert_array_equal(forces, FORCES)


class TestCalm:
    rows = (at_least("ours / theirs", 2.0, 1.0), plain("ours", 3.0, "ms"))

    @pytest.mark.parametrize("after", [96.0, 104.0])
    def test_a_baseline_that_stays_lets_everything_stand(self, after: float) -> None:
        found = if_calm(self.rows, "in process", 100.0, after)
        assert [row.ok for row in found.rows] == [True, True]
        assert found.notes == []

    @pytest.mark.parametrize("after", [94.0, 106.0])
    def test_a_baseline_that_moves_takes_back_what_is_claimed(self, after: float) -> None:
        found = if_calm(self.rows, "in process", 100.0, after)
        claimed, seen = found.rows
        assert (claimed.value, claimed.want, claimed.ok) == (None, "≥ 1", None)
        assert seen.value == 3.0
        assert "in process" in found.notes[0]


class TestGrowth:
    def test_thirds_are_compared(self) -> None:
        assert growth([100, 100, 300, 0, 110, 110]) == pytest.approx(0.1)
        assert growth([100.0]) == 0.0

    def test_a_process_that_ended_has_no_growth(self) -> None:
        assert np.isnan(growth([100.0, 100.0, float("nan")]))


def columns(rate: float, wait_ms: float, slowdowns: tuple[float, ...] = (1.0,)) -> Columns:
    """A turn for each of ``slowdowns`` of the machine."""
    turns = []
    for slowdown in slowdowns:
        answers = round(rate / slowdown)
        due = np.linspace(0.0, 0.5, answers)
        answered = due + 1e-3 * wait_ms * slowdown
        turns.append(Outcomes(1.0, np.full(answers, 200, dtype=np.int16), due, answered))
    return {
        clients: [Traffic(clients, 1, turn, turn.per_second(), 0, []) for turn in turns]
        for clients in (1, 8)
    }


class TestComparisons:
    def test_in_each_column_the_best_peer_counts_whichever_that_is(self) -> None:
        peers = {"many": columns(100, 8.0), "prompt": columns(50, 2.0)}
        rows = comparisons("ours", columns(150, 4.0), peers)
        assert [row.value for row in rows] == pytest.approx(2 * [1.5, 0.5, 0.5])
        assert [row.ok for row in rows] == 2 * [True, False, False]

    def test_turns_are_compared_with_each_other(self) -> None:
        # The machine got slow while ours had its second turn, and stayed so for everyone.
        slowdowns = (1.0, 4.0, 4.0)
        peers = {"peer": columns(100, 8.0, slowdowns)}
        rows = comparisons("ours", columns(200, 4.0, slowdowns), peers)
        assert [row.value for row in rows] == pytest.approx(2 * [2.0, 2.0, 2.0])

    def test_one_disturbed_turn_decides_nothing(self) -> None:
        peers = {"peer": columns(100, 8.0, (1.0, 1.0, 1.0))}
        rows = comparisons("ours", columns(200, 4.0, (1.0, 10.0, 1.0)), peers)
        assert all(row.ok for row in rows)

    def test_without_peers_nothing_is_claimed(self) -> None:
        for peers in ({}, {"mute": columns(0, 0.0)}):
            rows = comparisons("ours", columns(150, 4.0), peers)
            assert [row.value for row in rows] == [None, None]


class TestLayouts:
    def test_traffic_never_shares_a_core_with_inference(self) -> None:
        assert all(layout.inference != layout.traffic for layout in layouts(0, 1))

    def test_two_cores_are_two(self) -> None:
        with pytest.raises(ValueError, match="two different"):
            layouts(0, 0)
        with pytest.raises(ValueError, match="two different"):
            layouts(0, 10**6)


@linux
def test_a_child_is_known_kept_to_its_core_and_gone_when_it_ends() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    with on_core(core):
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    assert os.sched_getaffinity(0) == before
    since = procfs.started(child.pid)
    assert since is not None
    assert child.pid in procfs.children(os.getpid())
    assert child.pid in procfs.descendants(os.getpid())
    assert "input()" in procfs.command_line(child.pid)
    assert os.sched_getaffinity(child.pid) == {core}
    procfs.pin(child.pid, max(before))
    assert os.sched_getaffinity(child.pid) == {max(before)}
    assert procfs.resident_mib(child.pid) > 1.0
    child.communicate(b"\n")
    assert not procfs.is_alive(child.pid, since)
    assert child.pid not in procfs.children(os.getpid())
    assert np.isnan(procfs.resident_mib(child.pid))
