"""Runs on a real server: the same bits in any company, and whatever is killed on the way."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from ase.build import molecule
from ase.io import read

from forcegate_client.runs import End, Frame, Record, RunRequest, RunSummary
from forcegate_client.structures import StructureBatch
from forcegate_client.wire.run_records import RECORDS, RecordReader
from forcegate_engine import Model, integrate
from forcegate_engine import relax as relaxed
from support.killable import HANG_S, KillableGateway, killable
from support.models import REPOSITORY
from support.server_process import footprint
from support.streams import Run, bits, sent

pytestmark = pytest.mark.system

MODEL = "painn_ultra_tiny"
ASPIRIN = REPOSITORY.parent / "examples" / "aspirin.xyz"
NAMES = ("CH3CH2OH", "C6H6", "CH3SH", "CH3CONH2")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillableGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    shutil.copytree(REPOSITORY / MODEL, folder / "models" / MODEL)
    with killable(folder / "models", folder) as running:
        yield running


def langevin(steps: int = 3000, **changes: Any) -> RunRequest:
    options: dict[str, Any] = {"frame_interval": 100, "temperature_k": 300.0, "seed": 11}
    options |= {"friction_per_fs": 0.01, "streams": np.array([5])}
    batch = StructureBatch.from_atoms([read(ASPIRIN)])
    return RunRequest("dynamics", batch, MODEL, "langevin", steps, **(options | changes))


def others(count: int, seed: int, **changes: Any) -> RunRequest:
    rng = np.random.default_rng(seed)
    found = [molecule(NAMES[k % len(NAMES)]) for k in range(count)]
    for atoms in found:
        atoms.rattle(0.02, rng=rng)
    batch = StructureBatch.from_atoms(found)
    options: dict[str, Any] = {"frame_interval": 50, "timestep_fs": 0.25}
    return RunRequest("dynamics", batch, MODEL, "nve", 10**9, **(options | changes))


def streamed(
    gateway: KillableGateway,
    request: RunRequest,
    heard: Callable[[Record], None] = lambda record: None,
    read_timeout_s: float = HANG_S,
) -> list[Record]:
    """The records of one stream, as far as it went."""
    records: list[Record] = []
    with httpx.Client(base_url=gateway.url, timeout=read_timeout_s) as client:
        asked = sent(request)
        try:
            with client.stream("POST", asked.pop("url"), **asked) as response:
                assert response.status_code == 200, response.read()
                assert response.headers["content-type"] == RECORDS
                reader = RecordReader(RECORDS)
                for piece in response.iter_raw():
                    for record in reader.feed(piece):
                        records.append(record)
                        heard(record)
        except httpx.TransportError:
            # Cut off: what came is what there is.
            pass
    return records


def frames_of(records: list[Record], interval: int) -> list[Frame]:
    return [r for r in records if isinstance(r, Frame) and r.step % interval == 0]


def gone_on(request: RunRequest, records: list[Record]) -> RunRequest:
    """``request`` of one structure, from its last frame on."""
    frames = [record for record in records if isinstance(record, Frame)]
    if not frames:
        return request
    last = frames[-1]
    structures = replace(request.structures, positions=last.positions)
    start = np.array([last.step])
    return replace(request, structures=structures, velocities=last.velocities, start_steps=start)


def newest() -> Path:
    versions = [path for path in (REPOSITORY / MODEL).iterdir() if path.name.isdecimal()]
    return max(versions, key=lambda path: int(path.name))


@pytest.fixture(scope="module")
def undisturbed(gateway: KillableGateway) -> list[tuple[int, bytes, bytes, float]]:
    records = streamed(gateway, langevin())
    assert isinstance(records[-1], RunSummary)
    frames = frames_of(records, 100)
    assert [frame.step for frame in frames] == list(range(0, 3001, 100))
    return [bits(frame) for frame in frames]


def test_the_engine_itself_goes_the_same_way(undisturbed: list[Any]) -> None:
    aspirin = read(ASPIRIN)
    folder = newest()
    motion = integrate(
        *(Model.open(folder), aspirin.numbers, aspirin.positions, np.zeros((21, 3))),
        aspirin.get_masses(),
        steps=3000,
        timestep_fs=0.5,
        temperature_k=300.0,
        friction_per_fs=0.01,
        seed=11,
        streams=[5],
        threads=1,
    )
    assert motion.positions.tobytes() == undisturbed[-1][1]
    assert motion.velocities.tobytes() == undisturbed[-1][2]


def test_in_the_company_of_63_others_it_is_the_same(
    gateway: KillableGateway, undisturbed: list[Any]
) -> None:
    stop = threading.Event()

    def company(seed: int) -> None:
        def heard(record: Record) -> None:
            if stop.is_set():
                raise httpx.ReadError("enough")

        streamed(gateway, others(21, seed), heard)

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(company, seed) for seed in range(3)]
        records = streamed(gateway, langevin())
        assert gateway.metric("forcegate_run_structures") >= 63
        stop.set()
        assert [one.exception() for one in running] == [None] * 3
    assert [bits(frame) for frame in frames_of(records, 100)] == undisturbed
    deadline = time.monotonic() + HANG_S
    # Whoever goes away ends its runs.
    while gateway.metric("forcegate_run_structures"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_death_of_the_inference_process_is_not_noticed(
    gateway: KillableGateway, undisturbed: list[Any]
) -> None:
    killed = []

    def heard(record: Record) -> None:
        if isinstance(record, Frame) and record.step in (400, 1200, 2100):
            pid = gateway.inference_pid()
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    records = streamed(gateway, langevin(), heard)
    assert len(killed) == 3
    assert isinstance(records[-1], RunSummary)
    assert records[-1].reason == "finished"
    assert [bits(frame) for frame in frames_of(records, 100)] == undisturbed


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
def test_a_run_goes_on_bit_for_bit_after_the_end_of_the_gateway(
    gateway: KillableGateway, undisturbed: list[Any], end: signal.Signals
) -> None:
    found: dict[int, Any] = {}
    request, ends = langevin(), iter((600, 1500, 2300))
    at: int | None = next(ends)

    def heard(record: Record) -> None:
        nonlocal at
        if isinstance(record, Frame) and at is not None and record.step >= at:
            at = next(ends, None)
            gateway.process.send_signal(end)

    lives = 0
    while True:
        records = streamed(gateway, request, heard)
        found |= {frame.step: bits(frame) for frame in frames_of(records, 100)}
        request = gone_on(request, records)
        lives += 1
        if isinstance(records[-1], RunSummary) and records[-1].reason == "finished":
            break
        if end == signal.SIGTERM:
            assert isinstance(records[-1], RunSummary)
            assert records[-1].reason == "draining"
            assert isinstance(records[-2], Frame)
        assert gateway.ended() == (0 if end == signal.SIGTERM else -end)
        gateway.start()
    assert lives == 4
    assert [found[step] for step in sorted(found)] == undisturbed


def test_fire_finds_the_minima_that_the_engine_finds(gateway: KillableGateway) -> None:
    rng = np.random.default_rng(2)
    found = [molecule(name) for name in NAMES * 3]
    for atoms in found:
        atoms.rattle(0.1, rng=rng)
    batch = StructureBatch.from_atoms(found)
    request = RunRequest("relax", batch, MODEL, "fire", 600, fmax=0.02)
    run = Run(streamed(gateway, request))
    folder = newest()
    minimum = relaxed(
        *(Model.open(folder), batch.atomic_numbers, batch.positions),
        **{"n_atoms": batch.n_atoms, "fmax": 0.02, "max_steps": 600, "threads": 1},
    )
    places = np.concatenate([run.of(b)[-1].positions for b in range(len(batch))])
    assert places.tobytes() == minimum.positions.tobytes()
    assert [run.ends[b].step for b in range(len(batch))] == minimum.steps.tolist()
    assert all(end.reason == "converged" for end in run.ends.values())
    descent = Run(streamed(gateway, replace(request, method="lbfgs")))
    for b in range(len(batch)):
        assert descent.ends[b].reason == "converged"
        assert descent.ends[b].step < run.ends[b].step
        # Another basin may be as near; never one that is worse.
        assert descent.of(b)[-1].energy < run.of(b)[-1].energy + 1e-2


def test_who_reads_slowly_pauses_alone_and_fills_no_memory(gateway: KillableGateway) -> None:
    request = others(100, 7, frame_interval=1, properties=("forces",))
    asked = sent(request)
    head = "".join(f"{name}: {value}\r\n" for name, value in asked["headers"].items())
    length = len(asked["content"])
    with socket.create_connection(("127.0.0.1", gateway.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        line = f"POST {asked['url']} HTTP/1.1\r\nHost: localhost\r\n{head}"
        slow.sendall(f"{line}Content-Length: {length}\r\n\r\n".encode() + asked["content"])
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")
        deadline = time.monotonic() + HANG_S
        while not gateway.metric("forcegate_run_streams_paused"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = footprint(gateway.process.pid).resident
        steps = gateway.metric("forcegate_run_steps_total")
        # Others are not: a run from its begin to its end.
        records = streamed(gateway, langevin(500))
        assert isinstance(records[-1], RunSummary)
        assert records[-1].paused_s == 0.0
        for _ in range(20):
            slow.recv(4096)
        taken = gateway.metric("forcegate_run_steps_total") - steps - 500
        # Nothing but what it made room for by reading, and what was under way.
        assert taken < 400
        assert footprint(gateway.process.pid).resident < before + 16 * 1024 * 1024


def test_a_thousand_structures_move_together(gateway: KillableGateway) -> None:
    request = replace(others(1000, 9, frame_interval=0), steps=3)
    run = Run(streamed(gateway, request))
    assert len(run.ends) == 1000
    assert {end.reason for end in run.ends.values()} == {"finished"}
    assert run.summary.steps == 3000
    assert isinstance(run.ends[0], End)
