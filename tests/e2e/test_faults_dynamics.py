"""Molecular dynamics goes on by itself, and rightly, when the gateway is killed in its middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier

import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io import read, write
from ase.md.verlet import VelocityVerlet

from forcegate_client import Client, RemoteCalculator
from forcegate_client.md.nve import draw_velocities
from forcegate_client.retry import PATIENT
from support.killable import HANG_S, Kill, KillableGateway, kill_during, killable
from support.models import REPOSITORY

pytestmark = pytest.mark.system

# What company in a batch changes, and what dynamics makes of it over a short run.
FORCE_EV_PER_A = 1e-5


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillableGateway]:
    told = {"FORCEGATE_ACCESS_LOG": "true", "FORCEGATE_LOG_FORMAT": "json"}
    with killable(REPOSITORY, tmp_path_factory.mktemp("gateway"), **told) as gateway:
        yield gateway


@dataclass
class Run:
    """Velocity Verlet of one molecule, every step remembered; ``pauses`` are waits for a server.

    ``meet`` is called after every step.
    """

    name: str
    steps: int
    seed: int = 0
    meet: Callable[[], object] = lambda: None
    pauses: int = 0
    positions: list[npt.NDArray[np.float64]] = field(default_factory=list)
    momenta: list[npt.NDArray[np.float64]] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    forces: list[npt.NDArray[np.float64]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Steps so far."""
        return len(self.forces) - 1

    def go(self, url: str) -> Run:
        """Run from the first step to the last."""
        # As patient as by default, but for a hang.
        patience = replace(PATIENT, give_up_after_s=HANG_S)
        with Client(url, retry=patience, sleep=self._pause) as client:
            atoms = molecule(self.name)
            atoms.rattle(0.05, seed=self.seed)
            atoms.calc = RemoteCalculator(client=client)
            draw_velocities(atoms, 300.0, np.random.default_rng(self.seed))
            dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
            dynamics.attach(self._remember, 1, atoms)
            dynamics.run(self.steps)
        return self

    def _remember(self, atoms: Atoms) -> None:
        self.positions.append(atoms.get_positions())
        self.momenta.append(atoms.get_momenta())
        self.energies.append(atoms.get_potential_energy())
        self.forces.append(atoms.get_forces())
        self.meet()

    def _pause(self, seconds: float) -> None:
        self.pauses += 1
        time.sleep(seconds)


def assert_mid_run(kills: Sequence[Kill], steps: int) -> None:
    assert [kill.step for kill in kills] == sorted({kill.step for kill in kills})
    assert all(0 < kill.step < steps for kill in kills)
    # Each life that ended had been asked, the ones after a kill included.
    assert all(kill.answered > 0 for kill in kills)


def assert_same_bits(one: Sequence[object], other: Sequence[object]) -> None:
    for first, second in zip(one, other, strict=True):
        a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
        assert np.isfinite(a).all()
        assert (a.shape, a.tobytes()) == (b.shape, b.tobytes())


def assert_each_asked_once(lives: list[list[str]], calm: list[str]) -> None:
    """That lives answered what one ``calm`` life did, in its order, and nothing a second time.

    A life that is killed may have answered one more question than its log tells. What the log
    tells was on its way to the client, which therefore has no reason to ask it again.
    """
    assert lives[-1]
    end = 0
    for life in lives:
        assert life in (calm[end : end + len(life)], calm[end + 1 : end + 1 + len(life)])
        end += len(life) + (life != calm[end : end + len(life)])
    assert end == len(calm)


def test_a_run_whose_gateway_is_killed_twice_has_every_bit_of_an_undisturbed_one(
    gateway: KillableGateway,
) -> None:
    steps = 120
    begun = gateway.log.stat().st_size
    expected = Run("CH3CH2OH", steps).go(gateway.url)
    assert (expected.done, expected.pauses) == (steps, 0)
    (calm,) = gateway.questions(begun)
    # A step is a question, and so is the structure from which they start.
    assert len(calm) == len(set(calm)) == steps + 1
    begun = gateway.log.stat().st_size
    run = Run("CH3CH2OH", steps)
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(run.go, gateway.url)
        kills = kill_during(gateway, lambda: not going.done(), lambda: run.done, (20, 70), seed=1)
        going.result(HANG_S)
    assert_mid_run(kills, steps)
    assert run.pauses >= len(kills)
    assert_each_asked_once(gateway.questions(begun), calm)
    for name in ("positions", "momenta", "energies", "forces"):
        assert_same_bits(getattr(run, name), getattr(expected, name))


FRAME_EVERY = 20


def forcegate_md(folder: Path, url: str) -> subprocess.Popen[str]:
    """120 steps of ethanol, each of them asked for and logged, and frames of some."""
    write(folder / "ethanol.xyz", molecule("CH3CH2OH"))
    command = [str(Path(sys.executable).with_name("forcegate")), "md", "ethanol.xyz"]
    command += ["--time-ps", "0.06", "--equilibrate-ps", "0.01", "--seed", "3", "--out", "md"]
    return subprocess.Popen(
        [*command, "--one-by-one", "--log-every", "1", "--frame-every", str(FRAME_EVERY)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"FORCEGATE_URL": url},
    )


def finished(process: subprocess.Popen[str], folder: Path) -> list[Atoms]:
    try:
        output = process.communicate(timeout=HANG_S)
    finally:
        process.kill()
    assert process.returncode == 0, output
    frames: list[Atoms] = read(folder / "md" / "trajectory.traj", ":")
    return frames


def logged(folder: Path) -> int:
    """Steps that ``forcegate md`` has logged; the file begins with a header and step 0."""
    log = folder / "md" / "log.csv"
    return log.read_text(encoding="utf-8").count("\n") - 2 if log.is_file() else -1


def test_forcegate_md_writes_the_same_run_whether_its_gateway_is_killed_or_not(
    gateway: KillableGateway, tmp_path: Path
) -> None:
    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    for folder in (calm, disturbed):
        folder.mkdir()
    steps = 120
    begun = gateway.log.stat().st_size
    expected = finished(forcegate_md(calm, gateway.url), calm)
    (asked,) = gateway.questions(begun)
    begun = gateway.log.stat().st_size
    process = forcegate_md(disturbed, gateway.url)
    try:
        kills = kill_during(
            gateway, lambda: process.poll() is None, lambda: logged(disturbed), (20, 70), seed=2
        )
    except BaseException:
        process.kill()
        raise
    frames = finished(process, disturbed)
    assert len(frames) == len(expected) == steps // FRAME_EVERY + 1
    assert_mid_run(kills, steps)
    assert_each_asked_once(gateway.questions(begun), asked)
    for frame, other in zip(frames, expected, strict=True):
        assert_same_bits(
            [frame.positions, frame.get_momenta(), frame.get_potential_energy()],
            [other.positions, other.get_momenta(), other.get_potential_energy()],
        )
        assert_same_bits(frame.get_forces(), other.get_forces())
    for name in ("log.csv", "final.extxyz"):
        assert (disturbed / "md" / name).read_bytes() == (calm / "md" / name).read_bytes()
    summary = json.loads((disturbed / "md" / "summary.json").read_text(encoding="utf-8"))
    assert summary["trouble"] is None
    assert not summary["interrupted"]


def test_runs_that_share_batches_go_on_as_if_alone_and_undisturbed(
    gateway: KillableGateway,
) -> None:
    steps, names = 60, ("CH3CH2OH", "C4H4S", "CH3CONH2")
    expected = [Run(name, steps).go(gateway.url) for name in names]
    # Pauses differ, and a run could be over before another one comes back: they go in step.
    everybody = Barrier(len(names), timeout=HANG_S)
    runs = [Run(name, steps, meet=everybody.wait) for name in names]
    with ThreadPoolExecutor(len(runs)) as pool:
        going: list[Future[Run]] = [pool.submit(run.go, gateway.url) for run in runs]
        kills = kill_during(
            gateway,
            lambda: not any(future.done() for future in going),
            lambda: min(run.done for run in runs),
            (15,),
            seed=3,
        )
        for future in going:
            future.result(HANG_S)
    assert_mid_run(kills, steps)
    assert any(run.pauses > 0 for run in runs)
    # In the second life too they were evaluated together.
    structures = gateway.metric("forcegate_batch_structures_sum")
    assert structures > gateway.metric("forcegate_batch_structures_count") > 0
    for run, other in zip(runs, expected, strict=True):
        assert run.done == other.done == steps
        difference = np.abs(np.array(run.forces) - np.array(other.forces))
        assert difference.max() < FORCE_EV_PER_A
