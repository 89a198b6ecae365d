"""A relaxation on a server is one of ASE's to whoever looks, and its path survives a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms, FixCartesian
from ase.io import read, write
from ase.optimize import FIRE

from forcegate_client import AsyncClient, Client, LocalCalculator, RemoteCalculator
from forcegate_client.errors import InvalidStructure
from forcegate_client.relaxation import Relaxed, evaluator, relax_batched
from forcegate_client.relaxation.on_server import relax_on_server
from forcegate_client.remote import AsyncRemoteRelaxation, RemoteRelaxation
from forcegate_client.retry import PATIENT
from forcegate_client.screening import NO_RETRIES, merge, screen
from forcegate_client.screening.relax_task import Relax
from forcegate_client.testing import FakeClock
from support.run_server import MODEL, Fault, RunServer

FMAX = 0.05


def strained(name: str = "CH3CH2OH", seed: int = 0) -> Atoms:
    atoms = molecule(name)
    atoms.rattle(0.05, seed=seed)
    return atoms


def client_of(server: RunServer) -> Client:
    clock = FakeClock()
    return Client(
        "http://localhost",
        transport=server.transport,
        sleep=clock.sleep,
        clock=clock,
        retry=PATIENT,
    )


@pytest.mark.parametrize("faults", [[], [Fault(5), Fault(0), Fault(4, "draining")]])
def test_it_takes_the_steps_of_ase_and_leaves_the_same_files(
    faults: list[Fault], tmp_path: Path
) -> None:
    server = RunServer(faults=list(faults))
    atoms = strained()
    mine = RemoteRelaxation(
        atoms,
        method="fire",
        model=MODEL,
        client=client_of(server),
        trajectory=str(tmp_path / "mine.traj"),
        logfile=str(tmp_path / "mine.log"),
    )
    assert mine.run(fmax=FMAX, steps=300)
    assert mine.converged()
    other = strained()
    other.calc = LocalCalculator(MODEL, local=server.models, use="")
    theirs = FIRE(other, logfile=None, trajectory=str(tmp_path / "theirs.traj"))
    assert theirs.run(fmax=FMAX, steps=300)
    assert mine.nsteps == theirs.nsteps
    frames, expected = (read(tmp_path / f"{name}.traj", ":") for name in ("mine", "theirs"))
    assert len(frames) == len(expected)
    for one, two in zip(frames, expected, strict=True):
        np.testing.assert_allclose(one.positions, two.positions, atol=1e-6)
    assert len((tmp_path / "mine.log").read_text().splitlines()) == mine.nsteps + 2
    assert len(server.runs) == len(faults) + 1
    assert server.predictions == 1


def test_it_stops_where_it_is_told_and_goes_on_from_there() -> None:
    server = RunServer()
    atoms = strained()
    relaxation = RemoteRelaxation(atoms, method="fire", model=MODEL, client=client_of(server))
    assert not relaxation.run(fmax=1e-6, steps=5)
    assert (relaxation.nsteps, relaxation.converged()) == (5, False)
    assert relaxation.run(fmax=FMAX, steps=300)
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < FMAX


def test_atoms_that_are_fixed_stay_and_other_constraints_are_refused_in_words() -> None:
    server = RunServer()
    atoms = strained()
    before = atoms.positions.copy()
    atoms.set_constraint(FixAtoms([0, 2]))
    atoms.calc = RemoteCalculator(model=MODEL, client=client_of(server), use="")
    assert RemoteRelaxation(atoms, method="fire").run(fmax=FMAX, steps=300)
    assert np.array_equal(atoms.positions[[0, 2]], before[[0, 2]])
    assert not np.array_equal(atoms.positions[1], before[1])
    atoms.set_constraint(FixCartesian(1, [True, False, False]))
    with pytest.raises(InvalidStructure, match=r"FixCartesian.*RemoteCalculator"):
        RemoteRelaxation(atoms)


def test_on_an_event_loop_it_is_the_same() -> None:
    server = RunServer(faults=[Fault(4)])
    alone = strained()
    assert RemoteRelaxation(alone, method="fire", model=MODEL, client=client_of(RunServer())).run(
        fmax=FMAX, steps=300
    )

    async def relaxed() -> AsyncRemoteRelaxation:
        clock = FakeClock()

        async def nap(seconds: float) -> None:
            clock.sleep(seconds)

        async with AsyncClient(
            "http://localhost", transport=server.transport, sleep=nap, clock=clock
        ) as client:
            relaxation = AsyncRemoteRelaxation(strained(), client, method="fire", model=MODEL)
            assert await relaxation.run(fmax=FMAX, steps=300)
        return relaxation

    assert np.array_equal(asyncio.run(relaxed()).atoms.positions, alone.positions)


def by_index(found: list[Relaxed]) -> dict[int, Relaxed]:
    return {one.index: one for one in found}


def test_many_come_to_the_minima_of_relax_batched_each_failing_alone() -> None:
    server = RunServer(faults=[Fault(4), Fault(3, "torn")])
    client = client_of(server)
    structures = [strained(name, seed) for seed, name in enumerate(("CH3OH", "C2H6", "CH3COOH"))]
    held = strained("CH3OH", 7)
    held.set_constraint([FixAtoms([0]), FixCartesian(1, [True, False, False])])
    structures += [held, molecule("AlCl3"), Atoms()]
    rules = {"fmax": FMAX, "max_steps": 300}
    ask = evaluator(client, MODEL)
    mine = by_index(list(relax_on_server(structures, ask, client, **rules)))  # type: ignore[arg-type]
    theirs = by_index(list(relax_batched(structures, evaluator(client, MODEL), **rules)))  # type: ignore[arg-type]
    assert mine.keys() == theirs.keys() == set(range(6))
    for index, one in mine.items():
        two = theirs[index]
        assert (one.problem is None, one.converged) == (two.problem is None, two.converged)
        if one.problem is not None:
            assert two.problem is not None
            assert (one.problem["code"], one.problem["structure"]) == (two.problem["code"], index)
        else:
            assert one.steps == two.steps
            assert one.energy == pytest.approx(two.energy, abs=1e-6)
            assert one.start_energy == two.start_energy
            np.testing.assert_allclose(one.atoms.positions, two.atoms.positions, atol=1e-5)
    # What had ended before a stream was lost was not asked for again.
    assert [len(run.structures) for run in server.runs] == [3, 2, 2]


def test_a_screening_relaxes_on_the_server_and_loses_nothing_to_it(tmp_path: Path) -> None:
    names = ["CH3OH", "C2H6", "SiH4", "CH3COOH", "H2O", "NH3"]
    write(tmp_path / "in.extxyz", [strained(name, seed) for seed, name in enumerate(names)])
    found = {}
    for place, faults in (
        ("there", [Fault(4), Fault(0), Fault(3, "torn"), Fault(0)]),
        ("here", []),
    ):
        server = RunServer(faults=list(faults), knows_runs=place == "there")
        client = Client("http://localhost", transport=server.transport, retry=NO_RETRIES)
        screen(
            [tmp_path / "in.extxyz"],
            tmp_path / place,
            client=client,
            model=MODEL,
            task=Relax(fmax=FMAX),
            part_size=4,
            at_once=1,
            patience_s=60.0,
        )
        assert bool(server.runs) == (place == "there")
        assert not server.faults
        with h5py.File(merge(tmp_path / place)) as file:
            found[place] = {name: file["rows"][name][()] for name in file["rows"]}
    assert found["there"]["index"].tolist() == [0, 1, 3, 4, 5]
    for name, column in found["here"].items():
        if column.dtype.kind == "O":
            assert found["there"][name].tolist() == column.tolist()
            continue
        np.testing.assert_allclose(found["there"][name], column, atol=1e-5, err_msg=name)
