"""A screening beside somebody who asks for more than the gateway can do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import httpx
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write

from forcegate_client import Client
from forcegate_client.errors import TooManyRequests
from forcegate_client.screening import NO_RETRIES, merge, screen
from forcegate_client.screening.screening import Progress
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.queue.admission import LoopLag
from forcegate_service.runtimes.fake import FakeRuntime, load_fake, write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway

SIZE = 400
PART = 10
AT_ONCE = 8
S_PER_ATOM = 5e-4
# Three requests of a part fit, eight do not.
BUDGET_S = 3.5 * 3 * PART * S_PER_ATOM
# Nobody gives up because this machine is busy.
PATIENCE_S = 3600.0


class SlowRuntime(FakeRuntime):
    """The toy at the pace of a real model, so that what fits into a budget is known."""

    def evaluate(self, graph: Graph) -> ModelOutput:
        time.sleep(S_PER_ATOM * len(graph.atomic_numbers))
        return super().evaluate(graph)


@dataclass
class Recorder(httpx.BaseTransport):
    """Counts predictions that are under way, and keeps what refusals say."""

    under_way: int = 0
    most: int = 0
    advised_s: list[float] = field(default_factory=list)
    refused: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._real = httpx.HTTPTransport(limits=httpx.Limits(max_connections=None))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            response = self._real.handle_request(request)
            response.read()
        finally:
            with self._lock:
                self.under_way -= 1
        if response.status_code == 429:
            self.advised_s.append(response.json()["retry_after_s"])
            self.refused.set()
        return response

    def close(self) -> None:
        self._real.close()


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    # A budget of milliseconds would notice every hiccup of a busy machine.
    monkeypatch.setattr(LoopLag, "seconds", 0.0)
    write_fake_model(tmp_path / "models", "toy")

    def load(folder: Path) -> SlowRuntime:
        return SlowRuntime(load_fake(folder).card)

    settings = Settings(
        model_repository=tmp_path / "models", runtime="fake", queue_budget_s=BUDGET_S
    )
    with running_gateway(settings, load) as address:
        yield address


@contextmanager
def competitors(url: str, count: int, frames: list[Atoms]) -> Iterator[threading.Event]:
    """So many who ask for as much as they get, until the event is set."""
    enough = threading.Event()

    def ask() -> None:
        with Client(url, retry=NO_RETRIES) as client:
            while not enough.is_set():
                try:
                    client.predict(frames, "toy")
                except TooManyRequests as error:
                    enough.wait(error.retry_after_s)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield enough
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def test_nothing_is_lost_and_less_is_asked_at_once_until_there_is_room_again(
    url: str, tmp_path: Path
) -> None:
    frames = [molecule("H2O") for _ in range(SIZE)]
    for number, frame in enumerate(frames):
        frame.positions[1] *= 1.0 + 1e-3 * number
    library = tmp_path / "in.xyz"
    write(library, frames)
    recorder = Recorder()
    limits: list[int] = []
    with (
        competitors(url, 3, frames[:PART]) as enough,
        Client(url, transport=recorder, retry=NO_RETRIES) as client,
    ):

        def look(now: Progress) -> None:
            limits.append(now.at_once)
            # They go when half is done, and have been in the way.
            if now.done >= SIZE // 2 and recorder.refused.is_set():
                enough.set()

        screen(
            [library],
            tmp_path / "out",
            client=client,
            model="toy",
            part_size=PART,
            at_once=AT_ONCE,
            patience_s=PATIENCE_S,
            progress=look,
        )
    assert recorder.advised_s
    assert min(recorder.advised_s) > 0.0
    assert recorder.most <= AT_ONCE
    lowest = min(limits)
    assert limits[0] == AT_ONCE
    assert lowest <= AT_ONCE // 2
    assert max(limits[limits.index(lowest) :]) > lowest
    with h5py.File(merge(tmp_path / "out")) as file:
        assert file["rows/index"][()].tolist() == list(range(SIZE))
        assert not len(file["failures/index"])
        found = file["rows/energy"][()]
    batch = StructureBatch.from_atoms(read(library, ":"))
    toy = load_fake(tmp_path / "models" / "toy" / "1")
    alone = toy.evaluate(build_graph(batch, toy.card.cutoff)).energy
    assert found == pytest.approx(alone)
