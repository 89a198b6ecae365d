"""How long the client's own connections live, and who may use them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest
from ase.build import molecule

from forcegate_client.http.client import Client
from support.loopback import (
    Listener,
    Script,
    answer_one,
    answer_to,
    client_of,
    good,
    listening,
    receive,
    resets,
    says,
)

WATER = molecule("H2O")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def test_a_connection_that_the_server_closed_meanwhile_is_replaced_without_a_pause() -> None:
    hung_up = threading.Event()

    def once(listener: Listener, connection: socket.socket) -> None:
        answer_one(listener, connection)
        connection.close()
        hung_up.set()

    with listening(once, good) as listener, client_of(listener) as (client, clock):
        client.predict(WATER)
        assert hung_up.wait(10)
        client.predict(WATER)
    assert listener.connections == 2
    assert clock.naps == []


@pytest.mark.parametrize("end", [says(), resets], ids=["closed", "reset"])
def test_a_request_on_a_connection_that_dies_under_it_is_asked_again(end: Script) -> None:
    def once(listener: Listener, connection: socket.socket) -> None:
        answer_one(listener, connection)
        end(listener, connection)

    with listening(once, good) as listener, client_of(listener) as (client, clock):
        client.predict(WATER)
        client.predict(WATER)
    assert listener.connections == 2
    assert len(listener.requests) == 3
    assert len(clock.naps) == 1


def test_a_connection_is_let_go_before_the_server_would() -> None:
    now = [0.0]
    with listening(good) as listener, client_of(listener, clock=lambda: now[0]) as (client, _):
        for now[0] in (0.0, 59.0, 100.0, 161.0):
            client.predict(WATER)
    assert listener.connections == 2


def test_threads_that_come_and_go_share_one_connection() -> None:
    with listening(good) as listener, client_of(listener) as (client, _):
        for _ in range(4):
            thread = threading.Thread(target=client.predict, args=(WATER,))
            thread.start()
            thread.join()
    assert listener.connections == 1


def test_what_a_burst_of_threads_opened_is_closed_in_time() -> None:
    now, together, ended = [0.0], threading.Barrier(5), threading.Semaphore(0)

    def script(listener: Listener, connection: socket.socket) -> None:
        request = receive(connection)
        together.wait(10)
        while request:
            head, body = answer_to(request)
            connection.sendall(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))
            request = receive(connection)
        ended.release()

    with listening(script) as listener, client_of(listener, clock=lambda: now[0]) as (client, _):
        threads = [threading.Thread(target=client.predict, args=(WATER,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for now[0] in (50.0, 100.0):
            client.predict(WATER)
        assert all(ended.acquire(timeout=10) for _ in range(4))
        assert listener.connections == 5


FORK = """
import os, sys
from ase import Atoms
from forcegate_client import Client

hydrogen = Atoms("H2", positions=[[0, 0, 0], [0, 0, 1.0]])
with Client(sys.argv[1]) as client:
    client.predict(hydrogen)
    child = os.fork()
    client.predict(hydrogen)
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        client.predict(hydrogen)
"""


def test_a_child_makes_a_connection_of_its_own_and_leaves_its_parent_that_one() -> None:
    with listening(good) as listener:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", FORK, listener.url],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert listener.connections == 2
    assert len(listener.requests) == 4


def test_an_interrupted_answer_is_not_read_by_the_next_request() -> None:
    interrupted = [False]

    def now() -> float:
        if interrupted[0]:
            interrupted[0] = False
            raise KeyboardInterrupt
        return 0.0

    def script(listener: Listener, connection: socket.socket) -> None:
        receive(connection)
        interrupted[0] = True
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        receive(connection)

    with listening(script, good) as listener, client_of(listener, clock=now) as (client, _):
        with pytest.raises(KeyboardInterrupt):
            client.predict(WATER)
        assert client.predict(WATER).predictions.energy is not None
    assert listener.connections == 2


def test_a_closed_client_hangs_up_and_may_be_used_again() -> None:
    hung_up = threading.Event()

    def script(listener: Listener, connection: socket.socket) -> None:
        good(listener, connection)
        hung_up.set()

    with listening(script) as listener:
        client = Client(listener.url)
        client.predict(WATER)
        client.close()
        assert hung_up.wait(10)
        client.predict(WATER)
        client.close()
    assert listener.connections == 2
