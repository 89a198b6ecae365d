"""Runs that a server takes are the same to the last bit, whoever is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io import read, write

from forcegate_client import Client
from forcegate_client.md.nve import draw_velocities
from forcegate_client.remote import RemoteDynamics, RemoteReplicas
from forcegate_client.retry import PATIENT
from support.killable import HANG_S, KillableGateway, killable
from support.models import REPOSITORY

pytestmark = pytest.mark.system

MODEL = "painn_ultra_tiny"
STEPS, EVERY = 20_000, 100
THERMOSTAT = {"temperature_K": 300.0, "friction": 0.01 / units.fs, "seed": 5}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillableGateway]:
    with killable(REPOSITORY, tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


def moving(seed: int = 0, name: str = "CH3CH2OH") -> Atoms:
    atoms = molecule(name)
    draw_velocities(atoms, 300.0, np.random.default_rng(seed))
    return atoms


def bits(run: RemoteDynamics) -> bytes:
    atoms = run.atoms
    energy = np.float64(atoms.get_potential_energy()).tobytes()
    moved = atoms.positions.tobytes() + run.velocities.tobytes()
    return np.int64(run.nsteps).tobytes() + energy + moved + atoms.get_forces().tobytes()


class Watched:
    """A run of which every frame is kept, bit by bit; ``pauses`` are waits for a server."""

    def __init__(self, gateway: KillableGateway, options: dict[str, float]) -> None:
        self.frames: list[bytes] = []
        self.pauses = 0
        patience = replace(PATIENT, give_up_after_s=HANG_S)
        self._client = Client(gateway.url, retry=patience, sleep=self._pause)
        self.run = RemoteDynamics(
            moving(), timestep=0.5 * units.fs, model=MODEL, client=self._client, **options
        )
        self.run.attach(self._keep, interval=EVERY)

    def go(self) -> Watched:
        """To the last step."""
        with self._client:
            assert self.run.run(STEPS)
        return self

    def _keep(self) -> None:
        self.frames.append(bits(self.run))

    def _pause(self, seconds: float) -> None:
        self.pauses += 1
        time.sleep(seconds)


@pytest.mark.parametrize("options", [{}, THERMOSTAT], ids=["nve", "langevin"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
def test_a_run_whose_gateway_goes_three_times_has_every_bit_of_an_undisturbed_one(
    gateway: KillableGateway, number: signal.Signals, options: dict[str, float]
) -> None:
    expected = Watched(gateway, options).go()
    assert (len(expected.frames), expected.pauses) == (STEPS // EVERY + 1, 0)
    mine = Watched(gateway, options)
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(mine.go)
        for frames in (30, 80, 140):
            deadline = time.monotonic() + HANG_S
            while len(mine.frames) < frames:
                assert not going.done()
                assert time.monotonic() < deadline
                time.sleep(0.001)
            gateway.process.send_signal(number)
            gateway.ended()
            assert not going.done()
            gateway.start()
        going.result(HANG_S)
    assert mine.pauses >= 3
    assert mine.frames == expected.frames


def test_a_run_among_others_has_every_bit_that_it_has_alone(gateway: KillableGateway) -> None:
    alone = Watched(gateway, THERMOSTAT).go()
    names = ("CH3OH", "C2H6", "CH3COOH", "H2O", "CH3CONH2", "C4H4S", "NH3")
    others = [moving(seed, names[seed % len(names)]) for seed in range(1, 64)]
    steps, frames = 2_000, []
    with Client(gateway.url, retry=PATIENT) as client:
        replicas = RemoteReplicas(
            [moving(), *others], timestep=0.5 * units.fs, model=MODEL, client=client, **THERMOSTAT
        )
        first = replicas.runs[0]
        first.attach(lambda: frames.append(bits(first)), interval=EVERY)
        replicas.run(steps)
    assert first.error is None
    assert frames == alone.frames[: steps // EVERY + 1]
    assert sum(run.nsteps == steps for run in replicas.runs) >= 60


def test_who_reads_slowly_holds_up_nobody_else(gateway: KillableGateway) -> None:
    with Client(gateway.url) as client:
        slow = RemoteDynamics(moving(), timestep=0.5 * units.fs, model=MODEL, client=client)
        slow.attach(lambda: None, interval=1)
        steps = slow.irun(10**9)
        for _ in range(20):
            next(steps)
        # Nobody reads, and the system's own buffers are full some day.
        deadline = time.monotonic() + HANG_S
        while gateway.metric("forcegate_run_streams_paused") < 1:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        done = gateway.metric("forcegate_run_steps_total")
        assert len(Watched(gateway, {}).go().frames) == STEPS // EVERY + 1
        assert gateway.metric("forcegate_run_steps_total") == done + STEPS
        before = slow.nsteps
        for _ in range(50):
            next(steps)
        assert slow.nsteps == before + 50
        steps.close()


def forcegate_md(folder: Path, url: str, *words: str) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("forcegate")), "md", *words, "--out", "md"]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"FORCEGATE_URL": url},
    )


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_forcegate_md_that_is_killed_three_times_leaves_the_run_of_one_that_was_not(
    gateway: KillableGateway, tmp_path: Path, ensemble: str
) -> None:
    start = ["ethanol.xyz", "--model", MODEL, "--ensemble", ensemble, "--time-ps", "10"]
    start += [
        "--equilibrate-ps",
        "0.1",
        "--log-every",
        "10",
        "--frame-every",
        "100",
        "--also",
        "dcd",
    ]
    folders = calm, killed = tmp_path / "calm", tmp_path / "killed"
    for folder in folders:
        folder.mkdir()
        write(folder / "ethanol.xyz", molecule("CH3CH2OH"))
    process = forcegate_md(calm, gateway.url, *start)
    said, told = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, told
    assert "the server takes the steps" in said
    words = start
    for lines in (200, 700, 1400):
        process = forcegate_md(killed, gateway.url, *words)
        log, deadline = killed / "md" / "log.csv", time.monotonic() + HANG_S
        while not (log.is_file() and log.read_text().count("\n") > lines):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.kill()
        process.communicate()
        words = ["--continue"]
    process = forcegate_md(killed, gateway.url, *words)
    _, told = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, told
    for name in ("log.csv", "final.extxyz", "trajectory.dcd"):
        assert (killed / "md" / name).read_bytes() == (calm / "md" / name).read_bytes(), name
    mine, theirs = (read(folder / "md" / "trajectory.traj", ":") for folder in (killed, calm))
    assert len(mine) == len(theirs) == 201
    for one, two in zip(mine, theirs, strict=True):
        assert one.positions.tobytes() == two.positions.tobytes()
        assert one.get_momenta().tobytes() == two.get_momenta().tobytes()
        assert one.get_forces().tobytes() == two.get_forces().tobytes()
        assert one.info == two.info
