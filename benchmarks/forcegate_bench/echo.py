"""What HTTP costs on this machine if nothing is done with it: the yardstick of an overhead."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from pathlib import Path

from forcegate_bench.cores import on_core

__all__ = ["EchoUnusable", "measure_echo"]

_SERVER = Path(__file__).parents[1] / "peers" / "echo_server.py"
_START_TIMEOUT_S = 60.0
_WARM_UP_S = 0.5


class EchoUnusable(Exception):
    """The server does not come up, or does not echo."""


def measure_echo(body: bytes, seconds: float, server_core: int, log: Path) -> list[float]:
    """Milliseconds of round trips of ``body`` through FastAPI, by one client without any library.

    Raises:
        EchoUnusable: if the answer is not ``body``.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as stream, on_core(server_core):
        server = subprocess.Popen(
            [sys.executable, _SERVER, str(port)], stdout=stream, stderr=stream
        )
    try:
        return _round_trips(_connected(server, port, log), body, seconds)
    finally:
        server.terminate()
        server.wait()


def _connected(server: subprocess.Popen[bytes], port: int, log: Path) -> http.client.HTTPConnection:
    deadline = time.monotonic() + _START_TIMEOUT_S
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while time.monotonic() < deadline and server.poll() is None:
        try:
            connection.connect()
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return connection
    raise EchoUnusable(f"it does not come up; see {log}")


def _round_trips(
    connection: http.client.HTTPConnection, body: bytes, seconds: float
) -> list[float]:
    times = []
    begin = time.perf_counter() + _WARM_UP_S
    while (started := time.perf_counter()) < begin + seconds:
        connection.request("POST", "/echo", body)
        answer = connection.getresponse().read()
        ended = time.perf_counter()
        if answer != body:
            raise EchoUnusable(f"received {answer[:80]!r} for {body[:80]!r}")
        if started >= begin:
            times.append(1e3 * (ended - started))
    connection.close()
    return times
