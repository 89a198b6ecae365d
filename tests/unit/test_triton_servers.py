"""The Triton runtime: right answers or none, whatever the servers do."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import molecule
from pydantic import ValidationError

import forcegate_service.runtimes.triton.servers
from forcegate_client.errors import RuntimeUnavailable
from forcegate_service.contract.errors import ModelRefused, RuntimeFault
from forcegate_service.contract.graph import Graph
from forcegate_service.queue.isolate import evaluate_isolated
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.runtimes.triton import link
from forcegate_service.runtimes.triton.interface import input_tensors, output_tensors
from forcegate_service.runtimes.triton.servers import TritonServers
from forcegate_service.settings import Settings
from support.fake_triton import WAIT_S, FakeTriton, fake_triton, free_port, until
from support.triton_answers import METHANOL, MIXED, answered, graph_of, opened, right, servers_at

INPUTS, OUTPUTS = input_tensors(1), output_tensors(1)

CARBON, OXYGEN, CHLORINE = 6, 8, 17


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_PAUSE_S", 0.05)
    monkeypatch.setattr(link, "_LOOK_AGAIN_S", 0.1)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for version in ("1", "2"):
        write_fake_model(tmp_path, version=version)
    return tmp_path


CHLOROMETHANE = graph_of(molecule("CH3Cl"))


def test_answers_are_the_models_own_for_structures_of_all_kinds(repository: Path) -> None:
    with fake_triton(repository) as triton, servers_at(triton) as servers:
        output = opened(servers, repository).evaluate(MIXED)
    assert right(output, repository, MIXED)


@pytest.mark.parametrize(
    "graph", [graph_of(Atoms("C")), graph_of(Atoms("C"), Atoms("C2", [(0, 0, 0), (0, 0, 9)]))]
)
def test_what_has_no_edges_is_answered_without_a_tensor_that_has_no_elements(
    repository: Path, graph: Graph
) -> None:
    assert graph.n_edges == 0
    with fake_triton(repository) as triton, servers_at(triton) as servers:
        output = opened(servers, repository).evaluate(graph)
    assert right(output, repository, graph)
    assert triton.asked_about(CARBON) == 1
    assert all(0 not in shape for asked in triton.asked for shape in asked.shapes)


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ({"scale": {"1": 1.5}}, r"reference energy off by 0\.\d+ eV, forces by 0\.\d+ eV/Å"),
        ({"scale": {"1": float("nan")}}, "reference energy off by nan eV"),
        ({"max_batch_size": 8}, r"inputs.*\(-1, -1, 3\).*triton-repository"),
        ({"outputs": OUTPUTS[:-1]}, "outputs.*atom_novelty__4.*triton-repository"),
        ({"inputs": (INPUTS[0]._replace(kind="FP32"), *INPUTS[1:])}, "inputs.*'FP32'.*FP64"),
        ({"absent": {"1"}}, "fake version 1, which no server has.*version 1 is not found"),
        ({"failing": {OXYGEN}}, "index out of range in self"),
    ],
)
def test_a_server_that_has_something_else_is_refused_in_words(
    repository: Path, flaw: dict[str, object], message: str
) -> None:
    with fake_triton(repository, **flaw) as triton, servers_at(triton) as servers:
        with pytest.raises(ModelRefused, match=message):
            opened(servers, repository)
        assert servers.available()
        assert servers.lanes() == 1


def test_a_version_is_served_by_the_one_server_that_has_it(repository: Path) -> None:
    with (
        fake_triton(repository, scale={"1": 1.5}) as other,
        fake_triton(repository) as triton,
        servers_at(other, triton) as servers,
    ):
        runtime = opened(servers, repository)
        until(lambda: runtime.concurrency == 2)
        for _ in range(5):
            assert right(runtime.evaluate(MIXED), repository, MIXED)
    assert (other.asked_about(CARBON), triton.asked_about(CARBON)) == (0, 5)


def test_a_server_that_goes_away_is_told_at_once_and_asked_again_when_it_is_back(
    repository: Path,
) -> None:
    with fake_triton(repository) as triton, servers_at(triton) as servers:
        runtime = opened(servers, repository)
        for _ in range(2):
            assert right(runtime.evaluate(MIXED), repository, MIXED)
            triton.stop()
            with pytest.raises(RuntimeUnavailable, match="try again") as refused:
                runtime.evaluate(MIXED)
            assert refused.value.retry_after_s is not None
            assert refused.value.retry_after_s > 0
            until(lambda: not servers.available())
            with pytest.raises(RuntimeUnavailable):
                opened(servers, repository, "2")
            triton.start()
            until(lambda: answered(runtime, MIXED))


def test_a_server_that_is_not_alive_is_not_there(repository: Path) -> None:
    with fake_triton(repository, alive=False) as triton:
        servers = TritonServers(triton.address, WAIT_S)
        try:
            for _ in range(20):
                assert not servers.available()
                threading.Event().wait(0.01)
            triton.alive = True
            until(servers.available)
        finally:
            servers.close()


def test_a_server_on_which_somebody_elses_model_fails_is_asked_for_ours(repository: Path) -> None:
    with fake_triton(repository, ready=False) as triton, servers_at(triton) as servers:
        assert right(opened(servers, repository).evaluate(MIXED), repository, MIXED)


def test_what_was_opened_is_known_of_every_server_at_once(repository: Path) -> None:
    with (
        fake_triton(repository) as one,
        fake_triton(repository) as other,
        servers_at(one, other) as servers,
    ):
        # One for each server, and one on its way.
        assert opened(servers, repository).concurrency == 3


def test_a_version_that_was_closed_counts_for_nothing(repository: Path) -> None:
    with fake_triton(repository) as triton, servers_at(triton) as servers:
        runtime = opened(servers, repository)
        assert servers.instances(runtime.card) == 1
        runtime.close()
        assert servers.instances(runtime.card) == 0
        with pytest.raises(RuntimeUnavailable):
            runtime.evaluate(MIXED)


def test_after_an_answer_that_did_not_come_the_server_is_connected_to_at_once(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Looks that are due anyway would find it too.
    monkeypatch.setattr(link, "_LOOK_AGAIN_S", 10 * WAIT_S)
    with fake_triton(repository) as triton, servers_at(triton, timeout_s=0.5) as servers:
        runtime = opened(servers, repository)
        triton.frozen = True
        with pytest.raises(RuntimeUnavailable):
            runtime.evaluate(MIXED)
        triton.release()
        until(lambda: answered(runtime, MIXED))


# The second one cannot even be asked for.
@pytest.mark.parametrize("name", ["nowhere.invalid", "a..b"])
def test_a_name_that_cannot_be_looked_up_is_told_again_and_again(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forcegate_service.runtimes.triton.servers, "_RESOLVE_AGAIN_S", 0.05)
    servers = TritonServers(f"{name}:8001", WAIT_S)
    try:
        until(lambda: caplog.text.count(f"{name}:8001 cannot be resolved") > 1)
    finally:
        servers.close()


def test_two_servers_share_the_work_and_are_counted_while_they_are_there(repository: Path) -> None:
    with (
        fake_triton(repository, instances=2, gpus=(0, 1)) as large,
        fake_triton(repository) as small,
        servers_at(large, small) as servers,
        ThreadPoolExecutor(5) as pool,
    ):
        runtime = opened(servers, repository)
        until(lambda: servers.instances(runtime.card) == 5)
        assert (servers.lanes(), runtime.concurrency) == (5, 6)
        large.holding, small.holding = {CARBON}, {CARBON}
        answers = []
        for k in range(5):
            answers.append(pool.submit(runtime.evaluate, MIXED))
            until(lambda k=k: large.asked_about(CARBON) + small.asked_about(CARBON) == k + 1)
        assert (large.asked_about(CARBON), small.asked_about(CARBON)) == (4, 1)
        large.release()
        small.release()
        assert all(right(one.result(), repository, MIXED) for one in answers)
        large.stop()
        until(lambda: servers.lanes() == 1)
        assert runtime.concurrency == 2
        small.stop()
        until(lambda: not servers.available())
        assert (servers.lanes(), servers.instances(runtime.card), runtime.concurrency) == (1, 0, 1)
        large.start()
        until(lambda: servers.lanes() == 4)


@pytest.mark.parametrize("graph", [METHANOL, MIXED], ids=["one structure", "several"])
@pytest.mark.parametrize("end", ["dies", "hangs"])
def test_what_a_lost_server_was_computing_is_answered_by_the_other(
    repository: Path, end: str, graph: Graph
) -> None:
    # Many seconds too many, but for a hang.
    timeout_s = WAIT_S if end == "dies" else 3.0
    with (
        fake_triton(repository, holding={CARBON}) as one,
        fake_triton(repository, holding={CARBON}) as two,
        servers_at(one, two, timeout_s=timeout_s) as servers,
        ThreadPoolExecutor(1) as pool,
    ):
        runtime = opened(servers, repository)
        until(lambda: runtime.concurrency == 3)
        answer = pool.submit(evaluate_isolated, runtime, graph)
        until(lambda: one.asked_about(CARBON) + two.asked_about(CARBON) == 1)
        lost, other = (one, two) if one.asked_about(CARBON) else (two, one)
        other.release()
        if end == "dies":
            lost.stop()
        output, faults = answer.result(WAIT_S)
        assert not faults
        assert right(output, repository, graph)
        assert other.asked_about(CARBON) == 1


def test_a_server_that_does_not_answer_in_time_counts_as_lost_until_it_answers(
    repository: Path,
) -> None:
    with fake_triton(repository) as triton, servers_at(triton, timeout_s=2.0) as servers:
        runtime = opened(servers, repository)
        triton.frozen = True
        with pytest.raises(RuntimeUnavailable):
            runtime.evaluate(MIXED)
        assert not servers.available()
        triton.release()
        until(lambda: answered(runtime, MIXED))
        assert right(runtime.evaluate(MIXED), repository, MIXED)


def test_a_model_that_fails_is_not_a_server_that_is_lost(repository: Path) -> None:
    with fake_triton(repository, failing={CHLORINE}) as triton, servers_at(triton) as servers:
        runtime = opened(servers, repository)
        with pytest.raises(RuntimeFault, match="index out of range in self"):
            runtime.evaluate(CHLOROMETHANE)
        assert servers.available()
        assert right(runtime.evaluate(METHANOL), repository, METHANOL)


def test_a_version_that_is_let_go_is_not_looked_for_any_more(
    repository: Path,
) -> None:
    with fake_triton(repository) as triton, servers_at(triton) as servers:
        first, second = opened(servers, repository, "1"), opened(servers, repository, "2")
        first.close()
        # A look that was being taken comes to its end.
        for _ in range(2):
            triton.asked.clear()
            until(lambda: len(triton.asked) > 2)
        assert {asked.version for asked in triton.asked} == {"2"}
        assert right(second.evaluate(MIXED), repository, MIXED)
        assert servers.lanes() == 1


@pytest.mark.parametrize("state", ["never connected", "connected", "dead", "hanging"])
def test_connections_end_with_their_thread_whatever_the_server_does(
    repository: Path, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(threading.enumerate())
    with ExitStack() as stack:
        triton = FakeTriton(repository, port=free_port())
        stack.callback(triton.stop)
        if state != "never connected":
            triton.start()
        servers = TritonServers(triton.address, WAIT_S)
        if state != "never connected":
            until(servers.available)
            runtime = opened(servers, repository)
        if state == "dead":
            triton.stop()
            until(lambda: not servers.available())
        if state == "hanging":
            triton.frozen = True
            pool = stack.enter_context(ThreadPoolExecutor(1))
            waiting = pool.submit(runtime.evaluate, METHANOL)
            until(lambda: any(one.in_flight(runtime.card) for one in servers._links.values()))
        servers.close()
        if state == "hanging":
            assert waiting.exception(WAIT_S) is not None
    until(lambda: not [t for t in set(threading.enumerate()) - before if "forcegate" in t.name])
    # Where asyncio tells of tasks that were left behind.
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize(
    "address",
    ["http://triton:8001", "grpc://triton:8001", "triton", "triton:0", "triton:65536", ":8001",
     "triton:grpc", "", ",", "a:8001,b"],
)  # fmt: skip
def test_addresses_that_are_none_are_refused_in_words(address: str) -> None:
    with pytest.raises(ValidationError, match="expected host:port of Triton's gRPC"):
        Settings(triton_url=address)


@pytest.mark.parametrize("address", ["triton:8001", "[::1]:8001", "a:8001, b:8002", "10.0.0.7:1"])
def test_addresses_are_hosts_with_ports(address: str) -> None:
    assert Settings(triton_url=address).triton_url == address
