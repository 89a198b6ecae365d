"""The engine's blocks of steps are ASE's dynamics to whoever looks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.md.verlet import VelocityVerlet

from forcegate_client import LocalCalculator, MDMonitor
from forcegate_client.errors import ForcegateError
from forcegate_client.local.dynamics import LocalDynamics
from forcegate_client.local.models import LocalModels
from forcegate_client.md.ensemble import Ensemble
from forcegate_client.md.nve import draw_velocities
from support.models import REPOSITORY

STEP = 0.5 * units.fs
MODELS = LocalModels(REPOSITORY, threads=1)


def moving(kelvin: float = 300.0) -> Atoms:
    atoms = molecule("CH3CH2OH")
    draw_velocities(atoms, kelvin, np.random.default_rng(0))
    atoms.calc = LocalCalculator("painn_ultra_tiny", local=MODELS, use="")
    return atoms


def langevin(atoms: Atoms) -> LocalDynamics:
    return LocalDynamics(atoms, STEP, temperature_K=300.0, friction=0.01 / units.fs, seed=3)


def verlet(atoms: Atoms) -> LocalDynamics:
    return LocalDynamics(atoms, STEP)


def test_blocks_are_the_steps_of_ase_whose_observers_see_the_same() -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    energies: dict[str, list[float]] = {}
    positions = {}
    for name, make in (("ase", VelocityVerlet), ("engine", LocalDynamics)):
        atoms = moving()
        dynamics = make(atoms, STEP)
        seen[name], energies[name] = [], []

        def look(every: int, name: str = name, atoms: Atoms = atoms, now: Any = dynamics) -> None:
            seen[name].append((every, now.nsteps))
            energies[name].append(atoms.get_total_energy())

        for interval in (3, 10, -7):
            dynamics.attach(partial(look, interval), interval=interval)
        assert dynamics.run(20)
        assert dynamics.run(5)
        positions[name] = atoms.positions
        assert dynamics.get_time() == pytest.approx(25 * STEP)
    assert seen["engine"] == seen["ase"]
    assert len(seen["ase"]) > 12
    np.testing.assert_allclose(energies["engine"], energies["ase"], atol=1e-6)
    np.testing.assert_allclose(positions["engine"], positions["ase"], atol=1e-6)


@pytest.mark.parametrize("make", [verlet, langevin])
def test_who_looks_how_often_changes_no_bit(make: Callable[[Atoms], LocalDynamics]) -> None:
    ends = []
    for intervals in ((), (1,), (3, 8)):
        atoms = moving()
        dynamics = make(atoms)
        for interval in intervals:
            dynamics.attach(lambda: None, interval=interval)
        dynamics.run(7)
        dynamics.run(23)
        ends.append((atoms.positions.tobytes(), atoms.get_momenta().tobytes()))
    assert ends[0] == ends[1] == ends[2]


def test_nobody_waits_long_for_the_end_of_a_block() -> None:
    atoms = moving()
    dynamics = verlet(atoms)
    ends: list[int] = []
    dynamics.attach_to_frames(lambda: ends.append(dynamics.nsteps))
    dynamics.run(1000)
    assert ends[0] == 0
    assert ends[-1] == 1000
    # Some thousand steps of an atom take a tenth of a second.
    assert 2 <= max(np.diff(ends)) * len(atoms) <= 10_000


def test_momenta_that_somebody_sets_are_taken() -> None:
    atoms = moving()
    dynamics = verlet(atoms)
    dynamics.run(5)
    draw_velocities(atoms, 100.0, np.random.default_rng(1))
    set_by_hand = atoms.copy()
    dynamics.run(5)
    set_by_hand.calc = LocalCalculator("painn_ultra_tiny", local=MODELS, use="")
    verlet(set_by_hand).run(5)
    np.testing.assert_allclose(atoms.positions, set_by_hand.positions, atol=1e-12)


def test_a_block_that_ends_in_what_is_refused_is_not_taken() -> None:
    atoms = Atoms("H2O", [[0.0, 0.0, 0.0], [0.0, 1.5, 0.0], [0.9, 0.4, 0.0]])
    # Fast enough to be pressed into the oxygen.
    atoms.set_velocities([[0.0, 0.0, 0.0], [0.0, -6.0, 0.0], [0.0, 0.0, 0.0]])
    atoms.calc = LocalCalculator("painn_ultra_tiny", local=MODELS, use="")
    dynamics = LocalDynamics(atoms, 0.1 * STEP)
    dynamics.attach(lambda: None, interval=2)
    with pytest.raises(ForcegateError) as caught:
        dynamics.run(1000)
    assert caught.value.code in ("atoms_too_close", "prediction_implausible")
    assert np.isfinite(atoms.get_potential_energy())
    assert dynamics.nsteps % 2 == 0


def test_a_monitor_knows_what_it_watches() -> None:
    for make, ensemble, n_dof in ((verlet, Ensemble.NVE, 21), (langevin, Ensemble.NVT, 27)):
        atoms = moving()
        dynamics = make(atoms)
        with MDMonitor(dynamics) as monitor:
            dynamics.attach(monitor, interval=5)
            dynamics.run(50)
        assert (monitor.ensemble, monitor.n_dof) == (ensemble, n_dof)
        assert monitor.n_samples == 11
        assert (monitor.drift() is not None) == (ensemble is Ensemble.NVE)


def test_what_the_engine_cannot_move_is_refused() -> None:
    atoms = moving()
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(ValueError, match="constraints"):
        verlet(atoms)
    atoms.set_constraint()
    atoms.calc = None
    with pytest.raises(ValueError, match="LocalCalculator"):
        verlet(atoms)
    with pytest.raises(ValueError, match="expected both"):
        LocalDynamics(moving(), STEP, temperature_K=300.0)
