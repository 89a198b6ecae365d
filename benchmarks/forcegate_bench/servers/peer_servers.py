"""Other ways to serve the same model, each in processes of its own on one core."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import httpx

from forcegate_bench.load.dialects import Dialect, peer_json, peer_raw
from forcegate_bench.load.http1 import Address
from forcegate_bench.machine import procfs
from forcegate_bench.machine.cores import on_core
from forcegate_bench.machine.process import measuring_environment
from forcegate_bench.paths import PEERS, ROOT
from forcegate_bench.subjects.structures import structure
from forcegate_bench.subjects.subject import MOLECULE, Subject
from forcegate_client.structures import StructureBatch
from forcegate_service.machine import keeping_memory

__all__ = ["PeerFailed", "PeerServer", "peer_process", "peer_servers", "start_peer"]

_LITSERVE = "litserve"
_SCRIPTS = ROOT / "benchmarks" / "peers"
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 20.0
# Seconds that a batch waits for company, and as many structures as clients at most.
_WINDOWS_S = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02)
_MAX_BATCH = 32
_QUEUES = ("usual", "fast")


class PeerFailed(Exception):
    """A peer cannot be measured; the message tells why."""


@dataclass(frozen=True)
class PeerServer:
    """A script in ``benchmarks/peers``, the interpreter that runs it, and how it is asked."""

    label: str
    python: Path
    script: str
    dialect: Dialect
    options: tuple[str, ...] = ()
    # One of several ways to batch, of which the best one counts.
    batching: bool = False

    @property
    def installed(self) -> bool:
        """Whether its environment is there."""
        return self.python.is_file()

    @property
    def environment(self) -> str:
        """The name of its environment, which `make bench-peers` knows."""
        return self.python.parents[1].name


def peer_servers() -> list[PeerServer]:
    """All that answer over HTTP."""
    own, apart = Path(sys.executable), PEERS / _LITSERVE / "bin" / "python"
    found = [
        PeerServer("FastAPI, JSON", own, "fastapi_server.py", peer_json("/json")),
        PeerServer("FastAPI, raw bytes", own, "fastapi_server.py", peer_raw("/raw")),
        PeerServer("LitServe as it comes", apart, "litserve_server.py", peer_json("/predict")),
    ]
    for window_s, queue in product(_WINDOWS_S, _QUEUES):
        found.append(
            PeerServer(
                f"LitServe, window {1e3 * window_s:g} ms, {queue} queue",
                apart,
                "litserve_server.py",
                peer_json("/predict"),
                (str(_MAX_BATCH), str(window_s), queue),
                batching=True,
            )
        )
    return found


@contextmanager
def start_peer(peer: PeerServer, subject: Subject, core: int, log: Path) -> Iterator[Address]:
    """Serve ``subject`` on ``core``; ended, with all that it started, when the block ends.

    Raises:
        PeerFailed: if it does not answer.
    """
    address = Address("127.0.0.1", _free_port())
    arguments = [str(subject.folder), str(address.port), *peer.options]
    with peer_process(peer.python, peer.script, arguments, core, log) as process:
        _wait_for_answer(process, address, peer.dialect)
        yield address


@contextmanager
def peer_process(
    python: Path, script: str, arguments: list[str], core: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script of ``benchmarks/peers`` for as long as the block."""
    # Peers get the memory settings of the inference process.
    environment = {**keeping_memory(os.environ), **measuring_environment()}
    environment["PYTHONPATH"] = os.pathsep.join(str(ROOT / part) for part in ("clients", "service"))
    with on_core(core), log.open("wb") as stream:
        process = subprocess.Popen(
            [python, _SCRIPTS / script, *arguments], stdout=stream, stderr=stream, env=environment
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started; nothing is asked twice before it is killed."""
    others = {pid: procfs.started(pid) for pid in procfs.descendants(process.pid)}
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid, since in others.items():
        if since is not None and procfs.is_alive(pid, since):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _wait_for_answer(process: subprocess.Popen[bytes], address: Address, dialect: Dialect) -> None:
    body = dialect.encode(StructureBatch.from_atoms([structure(MOLECULE)]))
    headers = {"content-type": dialect.content_type}
    url = f"{address.url}{dialect.path}"
    deadline = time.monotonic() + _START_TIMEOUT_S
    with httpx.Client(trust_env=False, timeout=_START_TIMEOUT_S) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise PeerFailed(f"it ended with exit code {process.returncode}")
            with suppress(httpx.TransportError):
                answer = client.post(url, content=body, headers=headers)
                if answer.status_code == 200:
                    return
                raise PeerFailed(f"it answered with {answer.status_code}: {answer.text[:200]}")
            time.sleep(0.2)
    raise PeerFailed(f"it did not answer within {_START_TIMEOUT_S:.0f} s")
