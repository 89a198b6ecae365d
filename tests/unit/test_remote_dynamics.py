"""A run on a server is the run here, whatever becomes of server and connection on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms, FixCartesian
from ase.io import read

from forcegate_client import AsyncClient, Client, LocalCalculator, MDMonitor
from forcegate_client.errors import DigestChanged, ForcegateError, InvalidStructure
from forcegate_client.local.dynamics import LocalDynamics
from forcegate_client.md.nve import draw_velocities
from forcegate_client.remote import AsyncRemoteDynamics, RemoteDynamics, RemoteReplicas
from forcegate_client.retry import PATIENT, RetryPolicy
from forcegate_client.testing import FakeClock
from support.run_server import MODEL, Fault, RunServer

STEP = 0.5 * units.fs
THERMOSTAT = {"temperature_K": 300.0, "friction": 0.01 / units.fs, "seed": 3}
EVERY_FAULT = [
    Fault(4),
    Fault(0),
    Fault(3, "torn"),
    Fault(5, "draining"),
    Fault(1),
    Fault(6, "deadline"),
    Fault(3),
]


def moving(seed: int = 0, name: str = "CH3CH2OH") -> Atoms:
    atoms = molecule(name)
    draw_velocities(atoms, 300.0, np.random.default_rng(seed))
    return atoms


def client_of(server: RunServer, clock: FakeClock, retry: RetryPolicy = PATIENT) -> Client:
    return Client(
        "http://localhost", transport=server.transport, sleep=clock.sleep, clock=clock, retry=retry
    )


def here(server: RunServer, steps: int, every: int, drawn: int = 0, **options: Any) -> list[bytes]:
    """Every bit of the frames of a run in this process."""
    atoms = moving(drawn)
    atoms.calc = LocalCalculator(MODEL, local=server.models, use="")
    return frames_of(LocalDynamics(atoms, STEP, **options), steps, every)


def bits(dynamics: LocalDynamics | RemoteDynamics | AsyncRemoteDynamics) -> bytes:
    atoms = dynamics.atoms
    energy = np.float64(atoms.get_potential_energy()).tobytes()
    return b"".join(
        (
            *(np.int64(dynamics.nsteps).tobytes(), energy, atoms.positions.tobytes()),
            *(dynamics.velocities.tobytes(), atoms.get_forces().tobytes()),
        )
    )


def frames_of(dynamics: LocalDynamics | RemoteDynamics, steps: int, every: int) -> list[bytes]:
    found: list[bytes] = []
    dynamics.attach(lambda: found.append(bits(dynamics)), interval=every)
    assert dynamics.run(steps)
    return found


@pytest.mark.parametrize("options", [{}, THERMOSTAT], ids=["nve", "langevin"])
def test_whatever_is_lost_on_the_way_every_frame_has_the_bits_of_a_run_here(
    options: dict[str, float],
) -> None:
    server, clock = RunServer(faults=list(EVERY_FAULT)), FakeClock()
    atoms = moving()
    dynamics = RemoteDynamics(
        atoms, timestep=STEP, model=MODEL, client=client_of(server, clock), **options
    )
    found = frames_of(dynamics, 200, 5)
    assert found == here(server, 200, 5, **options)
    assert len(server.runs) == len(EVERY_FAULT) + 1
    assert not server.faults
    # Each stream was closed, and none was asked for what had come already.
    assert server.closed == len(EVERY_FAULT)
    starts = [int(run.start_steps[0]) for run in server.runs if run.start_steps is not None]
    assert starts == [0, 10, 10, 15, 30, 30, 50, 55]
    assert clock.naps


def test_steps_that_nobody_looks_at_are_not_sent() -> None:
    server, clock = RunServer(), FakeClock()
    dynamics = RemoteDynamics(moving(), timestep=STEP, model=MODEL, client=client_of(server, clock))
    dynamics.attach(lambda: None, interval=20)
    dynamics.attach(lambda: None, interval=30)
    assert list(dynamics.irun(60))[-1]
    assert [run.frame_interval for run in server.runs] == [10]
    assert server.predictions == 1
    atoms = dynamics.atoms
    assert atoms.calc.max_novelty > 0.0
    assert (atoms.get_potential_energy(), server.predictions) == (
        server.models.predict(atoms, MODEL).predictions.energy[0],  # type: ignore[index]
        1,
    )


def test_observers_trajectory_and_log_are_those_of_ase(tmp_path: Path) -> None:
    server, clock = RunServer(faults=[Fault(3)]), FakeClock()
    atoms = moving()
    dynamics = RemoteDynamics(
        atoms,
        timestep=STEP,
        model=MODEL,
        client=client_of(server, clock),
        trajectory=str(tmp_path / "a.traj"),
        logfile=str(tmp_path / "a.log"),
        loginterval=10,
    )
    with MDMonitor(dynamics) as monitor:
        dynamics.attach(monitor, interval=5)
        assert dynamics.run(100)
        assert dynamics.run(20)
    assert dynamics.get_time() == pytest.approx(120 * STEP)
    assert monitor.n_samples == 25
    assert monitor.drift() is not None
    frames = read(tmp_path / "a.traj", ":")
    assert len(frames) == 13
    assert np.array_equal(frames[-1].positions, atoms.positions)
    assert np.array_equal(frames[-1].get_forces(), atoms.get_forces())
    assert len((tmp_path / "a.log").read_text().splitlines()) == 14
    # The server knows how its own run goes, and is not told.
    assert server.predictions == 1


def test_atoms_that_an_observer_changes_go_on_from_there() -> None:
    server, clock = RunServer(), FakeClock()
    ends = []
    for remote in (True, False):
        atoms = moving()
        if remote:
            dynamics: LocalDynamics | RemoteDynamics = RemoteDynamics(
                atoms, timestep=STEP, model=MODEL, client=client_of(server, clock)
            )
        else:
            atoms.calc = LocalCalculator(MODEL, local=server.models, use="")
            dynamics = LocalDynamics(atoms, STEP)

        def cool(dynamics: LocalDynamics | RemoteDynamics = dynamics) -> None:
            if dynamics.nsteps == 20:
                dynamics.atoms.set_momenta(0.5 * dynamics.atoms.get_momenta())
                dynamics.dt = 0.5 * STEP

        dynamics.attach(cool, interval=10)
        dynamics.run(50)
        ends.append(bits(dynamics))
    assert ends[0] == ends[1]
    assert [run.timestep_fs for run in server.runs] == pytest.approx([0.5, 0.25])


def test_who_reads_nothing_has_the_server_wait() -> None:
    server, clock = RunServer(), FakeClock()
    dynamics = RemoteDynamics(moving(), timestep=STEP, model=MODEL, client=client_of(server, clock))
    dynamics.attach(lambda: None, interval=1)
    steps = dynamics.irun(100_000)
    for _ in range(10):
        next(steps)
    # Header, progress and ten frames, of which the last is in nobody's hands yet.
    assert server.read <= 12
    steps.close()
    assert server.closed == 1


def test_replicas_of_one_stream_are_the_runs_that_each_is_alone() -> None:
    server, clock = RunServer(faults=[Fault(7), Fault(12, "draining")]), FakeClock()
    structures = [moving(seed) for seed in range(3)]
    replicas = RemoteReplicas(
        structures,
        timestep=STEP,
        model=MODEL,
        client=client_of(server, clock),
        temperature_K=300.0,
        friction=0.01 / units.fs,
        seed=5,
    )
    found: list[list[bytes]] = [[], [], []]
    for place, run in enumerate(replicas.runs):
        run.attach(lambda place=place, run=run: found[place].append(bits(run)), interval=10)
    assert replicas.run(60)
    assert len(server.runs) == 3
    for seed, mine in enumerate(found):
        alone = RemoteDynamics(
            moving(seed),
            timestep=STEP,
            model=MODEL,
            client=client_of(server, clock),
            temperature_K=300.0,
            friction=0.01 / units.fs,
            seed=5,
            stream=seed,
        )
        assert frames_of(alone, 60, 10) == mine
    assert len({frames[-1] for frames in found}) == 3


def test_other_weights_do_not_go_on_with_a_run() -> None:
    server, clock = RunServer(faults=[Fault(4)]), FakeClock()
    dynamics = RemoteDynamics(moving(), timestep=STEP, model=MODEL, client=client_of(server, clock))

    def swap() -> None:
        if dynamics.nsteps == 10:
            server.digest = "sha256:other"

    dynamics.attach(swap, interval=5)
    with pytest.raises(DigestChanged, match="sha256:other"):
        dynamics.run(100)
    assert dynamics.nsteps == 10


def test_a_server_that_stays_away_is_given_up_by_the_rules_of_the_client() -> None:
    server, clock = RunServer(faults=[Fault(4), *[Fault(0)] * 1000]), FakeClock()
    client = client_of(server, clock, RetryPolicy(give_up_after_s=30.0))
    dynamics = RemoteDynamics(moving(), timestep=STEP, model=MODEL, client=client)
    dynamics.attach(lambda: None, interval=5)
    with pytest.raises(ForcegateError, match="gone"):
        dynamics.run(100)
    assert dynamics.nsteps == 10
    assert 20.0 < clock.now < 60.0


def test_a_constraint_that_no_server_knows_is_refused_in_words() -> None:
    server, clock = RunServer(), FakeClock()
    atoms = moving()
    atoms.set_constraint([FixAtoms([0]), FixCartesian(1, [True, False, False])])
    with pytest.raises(InvalidStructure, match=r"FixCartesian.*RemoteCalculator") as caught:
        RemoteDynamics(atoms, timestep=STEP, model=MODEL, client=client_of(server, clock))
    assert caught.value.code == "constraint_unsupported"
    atoms.set_constraint(FixAtoms([2, 0]))
    dynamics = RemoteDynamics(atoms, timestep=STEP, model=MODEL, client=client_of(server, clock))
    dynamics.run(0)
    with pytest.raises(ValueError, match="expected both"):
        RemoteDynamics(atoms, timestep=STEP, client=client_of(server, clock), friction=0.1)


def test_many_runs_on_an_event_loop_are_the_runs_that_each_is_alone() -> None:
    server, clock = RunServer(faults=[Fault(4), Fault(6, "torn"), Fault(0)]), FakeClock()

    async def nap(seconds: float) -> None:
        clock.sleep(seconds)
        await asyncio.sleep(0)

    async def all_of_them() -> list[list[bytes]]:
        found: list[list[bytes]] = [[], [], []]
        async with AsyncClient(
            "http://localhost", transport=server.transport, sleep=nap, clock=clock, retry=PATIENT
        ) as client:
            runs = [
                AsyncRemoteDynamics(moving(seed), client, timestep=STEP, model=MODEL)
                for seed in range(3)
            ]
            for place, run in enumerate(runs):
                run.attach(lambda place=place, run=run: found[place].append(bits(run)), interval=5)
            assert all(await asyncio.gather(*(run.run(50) for run in runs)))
        return found

    found = asyncio.run(all_of_them())
    assert len(server.runs) == 6
    for seed, mine in enumerate(found):
        assert mine == here(server, 50, 5, seed)
