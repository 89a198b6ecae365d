"""What HTTP costs on this machine if nothing is done with it: the yardstick of an overhead."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from forcegate_bench.machine.cores import on_core
from forcegate_bench.paths import ROOT

__all__ = ["Echo", "EchoUnusable", "running_echo"]

_SERVER = ROOT / "benchmarks" / "peers" / "echo_server.py"
_START_TIMEOUT_S = 60.0


class EchoUnusable(Exception):
    """The server does not come up, or does not echo."""


@contextmanager
def running_echo(body: bytes, core: int, log: Path) -> Iterator[Echo]:
    """FastAPI on ``core``, asked with ``body`` by a client without any library.

    Raises:
        EchoUnusable: if it does not come up.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as stream, on_core(core):
        command = [sys.executable, str(_SERVER), str(port)]
        server = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        _wait_for(server, port, log)
        yield Echo(port, body)
    finally:
        server.terminate()
        server.wait()


@dataclass(frozen=True)
class Echo:
    """The server at ``port`` of this machine."""

    port: int
    body: bytes

    def sample(self, seconds: float) -> list[float]:
        """Milliseconds of every round trip, for so long, on one connection.

        It is a new one each time: between two samples others are measured, and a server closes
        what is idle.

        Raises:
            EchoUnusable: if it does not echo.
        """
        times = []
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.connect()
            end = time.perf_counter() + seconds
            while (started := time.perf_counter()) < end:
                connection.request("POST", "/echo", self.body)
                answer = connection.getresponse().read()
                times.append(1e3 * (time.perf_counter() - started))
                if answer != self.body:
                    raise EchoUnusable(f"received {answer[:80]!r} for {self.body[:80]!r}")
        return times


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return
    raise EchoUnusable(f"it does not come up; see {log}")
