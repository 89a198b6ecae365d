"""A gateway in a process of its own that dies and comes back on the same port."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from ase import Atoms
from prometheus_client.parser import text_string_to_metric_families

from forcegate_client.messages import OnError, PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, encode_request

__all__ = ["HANG_S", "Kill", "KillableGateway", "free_port", "kill_during", "killable"]

# Nothing takes so long but a hang.
HANG_S = 600.0
_LISTENING = "forcegate is listening on "
# Each of them is answered in a turn of the event loop of its own.
_TURNS = 20
# Between a death and the next life, in which clients find nobody.
_AWAY_S = 0.5
# A step takes some milliseconds: within it, or within the one after, at any moment.
_WITHIN_STEPS_S = 0.02


@dataclass
class KillableGateway:
    """``forcegate-serve`` over a repository, on one port for all its lives.

    ``settings`` are variables of its environment. What it logs goes to ``log``.
    """

    repository: Path
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=lambda: free_port())
    _births: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens, dead or alive."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Come to life; returns once models are served.

        Bits repeat only on the same device with the same number of threads.
        """
        command = [str(Path(sys.executable).with_name("forcegate-serve"))]
        command += ["--port", str(self.port), "--torch-threads", "1"]
        command += ["--model-repository", str(self.repository)]
        with self.log.open("ab") as log:
            self._births.append(log.tell())
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"FORCEGATE_DEVICE": "cpu"} | self.settings,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if line != f"{_LISTENING}{self.url}":
            # Nobody else would, since whoever starts it does not get it.
            self.kill()
        assert line == f"{_LISTENING}{self.url}", self.log.read_text(encoding="utf-8")

    def kill(self) -> None:
        """Die without a word, as of a lack of memory or power."""
        self.process.kill()
        self.ended()

    def ended(self) -> int:
        """Wait for the end of this life; the exit code."""
        code = self.process.wait(HANG_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def stop(self) -> None:
        """End, whatever state it is in."""
        # A frozen process would not notice that its gateway is gone.
        self.thaw()
        self.kill()

    def metric(self, name: str, **labels: str) -> float:
        """A metric of this life; nothing counted yet is 0."""
        with closing(self._connection()) as connection:
            page = _get(connection, "/metrics")
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def answered(self) -> int:
        """Predictions that were answered in this life."""
        return int(self.metric("forcegate_requests_total", route="/v1/predict", code="200"))

    def questions(self, since: int = 0) -> list[list[str]]:
        """Digests of the predictions that were answered, in their order, one list for each life.

        ``since`` is a size that the log has had. The log has to tell every request, in JSON.
        """
        # A line is written once its answer is on its way.
        self.has_taken_in()
        text, lives = self.log.read_bytes(), []
        bounds = [since, *(birth for birth in self._births if birth > since), len(text)]
        for first, last in pairwise(bounds):
            lines = [json.loads(line) for line in text[first:last].splitlines() if line[:1] == b"{"]
            lives.append(
                [
                    line["digest"]
                    for line in lines
                    if (line.get("route"), line.get("status")) == ("/v1/predict", 200)
                ]
            )
        return lives

    def inference_pid(self) -> int | None:
        """The process beside it that evaluates; none while there is none."""
        if self.process.poll() is not None:
            return None
        for children in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            # Threads and processes may end while they are looked at.
            with suppress(OSError):
                for pid in children.read_text(encoding="utf-8").split():
                    if (
                        b"forcegate_service.runtimes.process"
                        in Path(f"/proc/{pid}/cmdline").read_bytes()
                    ):
                        return int(pid)
        return None

    def freeze(self) -> int:
        """Let nothing be evaluated any more, so that all that is sent waits; who was frozen."""
        pid = self.inference_pid()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        return pid

    def thaw(self) -> None:
        """Go on after ``freeze``."""
        pid = self.inference_pid()
        if pid is not None:
            os.kill(pid, signal.SIGCONT)

    def send(
        self, structures: list[Atoms], model: str = "painn_base", on_error: OnError = "raise"
    ) -> http.client.HTTPConnection:
        """Ask on a connection of its own, without retries; its response is yet to be read."""
        batch = StructureBatch.from_atoms(structures)
        body = encode_request(PredictRequest(batch, model, on_error=on_error))
        connection = self._connection()
        headers = {"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}
        connection.request("POST", "/v1/predict", body, headers)
        return connection

    def has_taken_in(self) -> None:
        """Return once all that was sent before (of a few kilobytes each) waits for inference.

        Connections are accepted in their order, and every turn of the event loop reads what came.
        """
        with closing(self._connection()) as connection:
            for _ in range(_TURNS):
                _get(connection, "/health/live")

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG_S)


@contextmanager
def killable(repository: Path, folder: Path, **settings: str) -> Iterator[KillableGateway]:
    """A gateway that is alive now and gone afterwards; its log lies in ``folder``."""
    gateway = KillableGateway(repository, folder / "gateway.log", settings)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


@dataclass(frozen=True)
class Kill:
    """After which step it came, and how much the life that it ended had answered."""

    step: int
    answered: int


def kill_during(
    gateway: KillableGateway,
    running: Callable[[], bool],
    done: Callable[[], int],
    steps: Sequence[int],
    seed: int,
) -> list[Kill]:
    """Kill the gateway some moment after each of ``steps``, and start it again a little later.

    ``running`` and ``done`` tell whether the run goes on, and how many steps it has done.
    """
    rng = np.random.default_rng(seed)
    kills = []
    for step in steps:
        deadline = time.monotonic() + HANG_S
        while done() < step:
            assert running()
            assert time.monotonic() < deadline
            time.sleep(0.001)
        answered = gateway.answered()
        time.sleep(rng.uniform(0.0, _WITHIN_STEPS_S))
        kills.append(Kill(done(), answered))
        gateway.kill()
        assert running()
        time.sleep(_AWAY_S)
        gateway.start()
    return kills


def _get(connection: http.client.HTTPConnection, path: str) -> str:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read().decode("utf-8")
    assert response.status == 200, body
    return body


def free_port() -> int:
    """A port that no outgoing connection is given.

    Those that systems give out would not do: while nobody listens, a client that keeps asking for
    one is given that very port some day, and is connected to itself.
    """
    candidates = random.sample(range(20_000, 30_000), 100)
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")
