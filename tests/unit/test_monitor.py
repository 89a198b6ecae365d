"""``MDMonitor`` reports what a run does and stops it when it leaves physics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.cluster import Octahedron
from ase.md.verlet import VelocityVerlet

from forcegate_client import MDMonitor
from forcegate_client.md.monitor import DynamicsBlewUp
from forcegate_client.md.nve import bonded_pairs, draw_velocities


class Constant(Calculator):
    """Whatever energy and forces a test wants, for every structure."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  # as ASE declares it

    def __init__(self, energy: float = 0.0, forces: object = 0.0) -> None:
        super().__init__()
        self.energy, self.forces, self.calls = energy, forces, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        forces = np.broadcast_to(self.forces, (len(self.atoms), 3)).astype(float)
        self.results = {"energy": self.energy, "forces": forces}


def cluster_run(steps: int, interval: int = 1) -> MDMonitor:
    atoms = Octahedron("Ar", 3, latticeconstant=5.3)
    atoms.calc = LennardJones(epsilon=0.0104, sigma=3.4, rc=100.0)
    draw_velocities(atoms, 20.0, np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, 5.0 * units.fs)
    monitor = MDMonitor(dynamics)
    dynamics.attach(monitor, interval=interval)
    dynamics.run(steps)
    return monitor


def test_samples_hold_time_energies_and_temperature() -> None:
    monitor = cluster_run(100, interval=10)
    samples = monitor.samples
    assert samples.times_ps == pytest.approx(np.arange(11) * 0.05)
    assert samples.temperature_k[0] == pytest.approx(20.0)
    expected = 2.0 * samples.kinetic_ev / (units.kB * (3 * 19 - 6))
    assert samples.temperature_k == pytest.approx(expected)
    assert np.ptp(samples.total_ev) < 0.05 * np.ptp(samples.kinetic_ev)
    assert monitor.last.total_ev == samples.total_ev[-1]


def test_a_live_drift_comes_with_its_error_as_soon_as_there_are_samples() -> None:
    monitor = cluster_run(2)
    assert monitor.drift() is None
    drift = cluster_run(400).drift()
    assert drift is not None
    assert abs(drift.slope_mev_per_atom_per_ps) < 0.05
    assert drift.standard_error_mev_per_atom_per_ps > 0.0


def test_before_the_first_step_nothing_is_claimed() -> None:
    atoms = molecule("CH4")
    atoms.calc = Constant()
    monitor = MDMonitor(VelocityVerlet(atoms, units.fs))
    assert math.isnan(monitor.last.temperature_k)
    report = monitor.report()
    assert report.drift is None
    assert report.duration_ps == 0.0


def test_watching_costs_no_evaluation() -> None:
    atoms = molecule("CH4")
    atoms.calc = Constant()
    draw_velocities(atoms, 300.0, np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, 0.1 * units.fs)
    dynamics.attach(MDMonitor(dynamics))
    dynamics.run(10)
    assert atoms.calc.calls == 11


@pytest.mark.parametrize(
    ("calculator", "message"),
    [
        (Constant(energy=math.nan), "not finite"),
        (Constant(forces=math.inf), "not finite"),
        (Constant(forces=[[50.0, 0, 0]] + [[-12.5, 0, 0]] * 4), r"\d+ K, above the limit"),
    ],
    ids=["energy", "forces", "temperature"],
)
def test_a_run_that_leaves_physics_is_stopped_early(calculator: Constant, message: str) -> None:
    atoms = molecule("CH4")
    atoms.calc = calculator
    draw_velocities(atoms, 300.0, np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    monitor = MDMonitor(dynamics)
    dynamics.attach(monitor)
    with pytest.raises(DynamicsBlewUp, match=message):
        dynamics.run(1000)
    assert dynamics.nsteps < 100
    assert monitor.report().trouble is not None


def fly_apart(stop: bool) -> tuple[MDMonitor, VelocityVerlet]:
    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.2]])
    atoms.calc = Constant()
    atoms.set_velocities([[0, 0, 0], [0, 0, 0.02 / units.fs]])
    dynamics = VelocityVerlet(atoms, units.fs)
    monitor = MDMonitor(dynamics, temperature_K=1e6, stop=stop, check_bonds_every=1)
    dynamics.attach(monitor)
    return monitor, dynamics


def test_a_bond_that_tears_stops_the_run_and_names_the_atoms() -> None:
    monitor, dynamics = fly_apart(stop=True)
    with pytest.raises(DynamicsBlewUp, match="0–1"):
        dynamics.run(1000)
    assert monitor.report().bonds_broken == {(0, 1)}
    # Twice the covalent radii of C and O are 2.84 Å.
    assert dynamics.atoms.get_distance(0, 1) < 2.9


def test_a_monitor_told_not_to_stop_only_takes_note() -> None:
    monitor, dynamics = fly_apart(stop=False)
    dynamics.run(100)
    assert monitor.trouble is not None
    assert "torn" in monitor.trouble
    assert monitor.n_samples == 101


def test_bonds_that_broke_before_the_recorded_run_are_told_as_well() -> None:
    whole = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.2]])
    torn = Atoms("CO", positions=[[0, 0, 0], [0, 0, 2.5]])
    torn.calc = Constant()
    draw_velocities(torn, 10.0, np.random.default_rng(0))
    dynamics = VelocityVerlet(torn, units.fs)
    monitor = MDMonitor(dynamics, bonds=bonded_pairs(whole), check_bonds_every=1)
    monitor()
    assert monitor.report().bonds_broken == {(0, 1)}


def jumpy_run(jump_ev: float, at_step: int) -> None:
    """A quiet cluster whose energy gets a step, and whose forces know nothing of it."""
    atoms = Octahedron("Ar", 3, latticeconstant=5.3)
    atoms.calc = calculator = LennardJones(epsilon=0.0104, sigma=3.4, rc=100.0)
    draw_velocities(atoms, 20.0, np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, 5.0 * units.fs)

    def step_up() -> None:
        if dynamics.nsteps >= at_step:
            calculator.results["energy"] += jump_ev

    dynamics.attach(step_up)
    dynamics.attach(MDMonitor(dynamics))
    dynamics.run(60)


def test_an_energy_that_jumps_stops_the_run() -> None:
    with pytest.raises(DynamicsBlewUp, match=r"energy jumped by \+25.00 eV"):
        jumpy_run(25.0, at_step=5)
    # 19 atoms: less than 1 eV each, but 10 eV in all, after 20 samples that were quiet.
    with pytest.raises(DynamicsBlewUp, match=r"energy jumped by -11.00 eV"):
        jumpy_run(-11.0, at_step=40)


def test_an_energy_that_fluctuates_is_no_jump() -> None:
    jumpy_run(11.0, at_step=5)
    jumpy_run(1.0, at_step=40)


def test_a_start_hotter_than_any_molecule_is_refused_unless_it_was_meant() -> None:
    atoms = molecule("CH4")
    atoms.calc = Constant()
    draw_velocities(atoms, 50_000.0, np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, 0.001 * units.fs)
    monitor = MDMonitor(dynamics)
    with pytest.raises(DynamicsBlewUp, match="a start at 50000 K"):
        monitor()
    MDMonitor(dynamics, temperature_K=50_000.0)()
    with pytest.raises(DynamicsBlewUp, match="above the limit"):
        MDMonitor(dynamics, temperature_K=300.0)()
