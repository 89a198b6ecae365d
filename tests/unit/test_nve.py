"""Temperature, velocities and drift mean what they say, and the protocol holds together."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.cluster import Octahedron
from ase.constraints import FixAtoms
from hypothesis import given
from hypothesis import strategies as st

from forcegate_client import RemoteCalculator
from forcegate_client.http.client import Client
from forcegate_client.md.monitor import MDMonitor
from forcegate_client.md.nve import (
    Drift,
    bond_changes,
    bonded_pairs,
    degrees_of_freedom,
    draw_velocities,
    energy_drift,
    run_nve,
    temperature_of,
)
from forcegate_client.testing import FakeServer

TINY = 1e-10


def springs() -> RemoteCalculator:
    return RemoteCalculator(client=Client(transport=FakeServer().transport))


def argon_cluster() -> Atoms:
    cluster = Octahedron("Ar", 3, latticeconstant=5.3)
    cluster.calc = LennardJones(epsilon=0.0104, sigma=3.4, rc=100.0)
    return cluster


class Leak(Calculator):
    """A potential that changes with every call: forces that no energy has as its gradient."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  # as ASE declares it

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        separation = self.atoms.positions[1] - self.atoms.positions[0]
        length = np.linalg.norm(separation)
        pull = 20.0 * (length - 1.5) * separation / length
        twist = 0.5 * np.cross([0.0, 0.0, 1.0], separation)
        self.results = {
            "energy": 10.0 * (length - 1.5) ** 2,
            "forces": np.array([pull - twist, twist - pull]),
        }


# Degrees of freedom and velocities


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (molecule("CH4"), 3 * 5 - 6),
        (molecule("H2O"), 3),
        (molecule("CO2"), 3 * 3 - 5),
        (molecule("C2H2"), 3 * 4 - 5),
        (molecule("N2"), 1),
        (Atoms("He"), 0),
        (bulk("Cu", cubic=True), 3 * 4 - 3),
        (Atoms("Cu", pbc=True, cell=[3, 3, 3]), 0),
        (Atoms("H2O", molecule("H2O").positions, pbc=(1, 1, 0), cell=[9, 9, 9]), 3 * 3 - 3),
    ],
    ids=["CH4", "H2O", "CO2", "C2H2", "N2", "He", "fcc", "one atom a cell", "slab"],
)
def test_degrees_of_freedom(atoms: Atoms, expected: int) -> None:
    assert degrees_of_freedom(atoms) == expected


def test_a_linear_molecule_is_linear_however_it_lies() -> None:
    atoms = molecule("CO2")
    atoms.rotate(37.0, (1, 2, 3))
    atoms.translate((5.0, -3.0, 1.0))
    assert degrees_of_freedom(atoms) == 4


def test_fixed_atoms_take_their_degrees_of_freedom_with_them() -> None:
    atoms = molecule("CH4")
    atoms.set_constraint(FixAtoms([0]))
    assert degrees_of_freedom(atoms) == 12
    draw_velocities(atoms, 300.0, np.random.default_rng(0))
    assert np.all(atoms.get_momenta()[0] == 0.0)
    assert temperature_of(atoms, 12) == pytest.approx(300.0, rel=1e-12)


@given(
    name=st.sampled_from(["CH4", "H2O", "CO2", "N2", "C6H6", "CH3CH2OH"]),
    temperature_K=st.floats(1.0, 3000.0),
    seed=st.integers(0, 1000),
)
def test_drawn_velocities_have_exactly_the_temperature_and_no_overall_motion(
    name: str, temperature_K: float, seed: int
) -> None:
    atoms = molecule(name)
    atoms.rotate(seed, (1, 1, 0))
    atoms.translate((3.0, 4.0, 5.0))
    draw_velocities(atoms, temperature_K, np.random.default_rng(seed))
    momenta = atoms.get_momenta()
    assert temperature_of(atoms, degrees_of_freedom(atoms)) == pytest.approx(
        temperature_K, rel=1e-12
    )
    size = np.abs(momenta).sum()
    assert np.abs(momenta.sum(axis=0)).max() < TINY * size
    assert np.abs(atoms.get_angular_momentum()).max() < TINY * size


def test_a_crystal_keeps_what_rotation_means_in_it_and_loses_translation() -> None:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    draw_velocities(atoms, 300.0, np.random.default_rng(3))
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < TINY
    assert np.abs(atoms.get_angular_momentum()).max() > 1.0
    assert temperature_of(atoms, 3 * 32 - 3) == pytest.approx(300.0, rel=1e-12)


def test_velocities_are_maxwell_boltzmann() -> None:
    atoms = bulk("Cu", cubic=True) * (5, 5, 5)
    atoms.set_masses(np.tile([12.0, 63.5], len(atoms) // 2))
    draw_velocities(atoms, 300.0, np.random.default_rng(0))
    kinetic = 0.5 * atoms.get_masses()[:, None] * atoms.get_velocities() ** 2
    mean = kinetic.reshape(-1, 2, 3).mean(axis=(0, 2)) * 2.0 / units.kB
    # Equipartition holds for both masses within four standard errors.
    assert mean == pytest.approx([300.0, 300.0], rel=4.0 * np.sqrt(2.0 / (3 * len(atoms) / 2)))


def test_one_atom_alone_has_no_temperature() -> None:
    with pytest.raises(ValueError, match="degrees of freedom"):
        draw_velocities(Atoms("He"), 300.0, np.random.default_rng(0))


# Drift


def series(slope: float, noise: float, seed: int, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Times in ps and energies in eV with correlated noise, as vibrations make."""
    rng = np.random.default_rng(seed)
    times = np.arange(n) * 0.5e-3
    white = rng.standard_normal(n + 50)
    correlated = np.convolve(white, np.ones(20) / np.sqrt(20.0), mode="valid")[:n]
    return times, -4000.0 + slope * times + noise * correlated


def test_a_known_slope_is_recovered_within_its_error() -> None:
    slope, n_atoms, within = 1e-3, 20, []
    expected = slope * 1000.0 / n_atoms
    for seed in range(200):
        drift = energy_drift(*series(slope, 2e-3, seed), n_atoms)
        error = drift.standard_error_mev_per_atom_per_ps
        within.append(abs(drift.slope_mev_per_atom_per_ps - expected) < 2.0 * error)
    # 95 % for a normal distribution; 94 % with the 18 degrees of freedom of 20 blocks.
    assert 0.88 < np.mean(within) <= 0.99


def test_correlated_noise_does_not_make_the_error_small() -> None:
    times, energies = series(0.0, 2e-3, seed=1)
    relative = energies - energies.mean()
    t = times - times.mean()
    naive = np.sqrt((relative**2).mean() / (t @ t)) * 1000.0
    assert energy_drift(times, energies, 1).standard_error_mev_per_atom_per_ps > 2.0 * naive


def test_a_straight_line_is_exact_on_top_of_a_large_total_energy() -> None:
    times = np.linspace(0.0, 10.0, 1000)
    drift = energy_drift(times, -20000.0 + 2e-6 * times, 10)
    assert drift.slope_mev_per_atom_per_ps == pytest.approx(2e-4, rel=1e-5)
    assert drift.duration_ps == 10.0


def test_a_drift_passes_only_when_its_error_bar_is_inside_the_limit_as_well() -> None:
    assert Drift(0.005, 0.005, 20, 10.0).passes(0.02)
    assert Drift(-0.005, 0.005, 20, 10.0).passes(0.02)
    assert not Drift(0.0, 0.011, 20, 10.0).passes(0.02)


@pytest.mark.parametrize(
    ("times", "energies"),
    [
        ([0.0, 1.0], [0.0, 1.0]),
        ([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, np.nan, 1.0]),
        ([0.0, 1.0, 1.0, 3.0], [0.0, 1.0, 2.0, 1.0]),
        ([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0]),
    ],
    ids=["short", "not finite", "time stands still", "lengths"],
)
def test_a_drift_is_not_made_up(times: list[float], energies: list[float]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        energy_drift(times, energies, 1)


# Bonds


def test_bonds_of_ethanol() -> None:
    assert len(bonded_pairs(molecule("CH3CH2OH"))) == 8


def test_bonds_through_the_cell_wall_are_bonds() -> None:
    wrapped = molecule("CH4")
    wrapped.set_cell([10.0, 10.0, 10.0])
    wrapped.pbc = True
    wrapped.wrap()
    assert bonded_pairs(wrapped) == bonded_pairs(molecule("CH4"))


def test_vibration_breaks_no_bond_and_a_torn_atom_does() -> None:
    atoms = molecule("CH4")
    start = bonded_pairs(atoms)
    atoms.set_distance(0, 1, 1.35, fix=0)
    assert not bond_changes(start, atoms)
    atoms.set_distance(0, 1, 2.0, fix=0)
    assert bond_changes(start, atoms).broken == {(0, 1)}


def test_a_hydrogen_that_goes_over_breaks_a_bond_and_tears_none() -> None:
    ammonium = Atoms("NH", [[0, 0, 0], [0, 0, 1.03]]) + Atoms("OH", [[0, 0, 3.4], [0.9, 0, 3.7]])
    start = bonded_pairs(ammonium)
    gone, lost = ammonium.copy(), ammonium.copy()
    gone.positions[1, 2] = 2.42
    lost.positions[1] = [0, 2.5, 0]
    assert bond_changes(start, gone, reach=2.0).broken == {(0, 1)}
    assert bond_changes(start, gone, reach=2.0).longest_ratio < 1.1
    assert bond_changes(start, lost, reach=2.0).longest_ratio > 2.0


def test_a_new_bond_is_reported() -> None:
    pair = molecule("H2O") + molecule("H2O")
    pair.positions[3:] += (0.0, 0.0, 4.0)
    start = bonded_pairs(pair)
    assert len(start) == 4
    pair.positions[3:] -= (0.0, 0.0, 2.6)
    assert bond_changes(start, pair).formed


# The protocol


def test_a_lennard_jones_cluster_conserves_energy_and_shows_half_of_its_start() -> None:
    report = run_nve(argon_cluster(), temperature_K=20.0, timestep_fs=5.0, duration_ps=5.0)
    assert report.survived
    assert report.relaxed
    assert report.passes(1e-3)
    assert report.temperature_ok
    assert report.md.n_dof == 3 * 19 - 6
    assert report.md.mean_temperature_k == pytest.approx(20.0, abs=3 * report.temperature_sigma_k)
    assert len(report.samples.times_ps) == 1001


def test_springs_over_the_wire_conserve_energy() -> None:
    atoms = molecule("H2O")
    atoms.calc = springs()
    report = run_nve(atoms, temperature_K=300.0, timestep_fs=0.25, duration_ps=0.2)
    # Short, so the error bar is wide.
    assert report.passes(0.1)
    assert report.rms_fluctuation_mev_per_atom < 0.1


def test_a_force_that_is_no_gradient_fails() -> None:
    # Across the axis that the twist turns about.
    atoms = Atoms("CO", positions=[[0, 0, 0], [1.5, 0, 0]])
    atoms.calc = Leak()
    report = run_nve(atoms, timestep_fs=0.5, duration_ps=0.5, relax_fmax=None, temperature_K=100.0)
    assert not report.passes(0.02)


def test_a_shorter_timestep_fluctuates_less_as_verlet_does() -> None:
    fluctuation = {}
    for timestep_fs in (10.0, 5.0):
        report = run_nve(
            argon_cluster(), temperature_K=20.0, timestep_fs=timestep_fs, duration_ps=3.0
        )
        fluctuation[timestep_fs] = report.rms_fluctuation_mev_per_atom
    assert fluctuation[10.0] / fluctuation[5.0] == pytest.approx(4.0, rel=0.3)


def test_a_langevin_start_is_at_rest_as_a_whole_and_near_the_temperature() -> None:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.calc = EMT()
    report = run_nve(
        atoms,
        temperature_K=300.0,
        timestep_fs=5.0,
        duration_ps=0.5,
        equilibrate_ps=1.0,
        friction_per_fs=0.02,
    )
    assert report.temperature_ok
    assert np.abs(report.final.get_momenta().sum(axis=0)).max() < 1e-8
    assert report.passes(0.5)


def test_the_same_seed_is_the_same_run_and_the_input_is_left_alone() -> None:
    cluster = argon_cluster()
    before = cluster.positions.copy()
    runs = [
        run_nve(cluster, temperature_K=20.0, timestep_fs=5.0, duration_ps=0.5, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(runs[0].samples.total_ev, runs[1].samples.total_ev)
    assert not np.array_equal(runs[0].samples.total_ev, runs[2].samples.total_ev)
    assert np.array_equal(cluster.positions, before)


def test_hooks_see_every_sample_and_frames_are_kept_on_request() -> None:
    seen: list[float] = []

    def hook(monitor: MDMonitor) -> None:
        seen.append(monitor.last.time_ps)

    report = run_nve(
        argon_cluster(),
        temperature_K=20.0,
        timestep_fs=5.0,
        duration_ps=0.5,
        sample_every=2,
        keep_frames_every=20,
        on_sample=hook,
    )
    assert seen == report.samples.times_ps.tolist()
    assert len(seen) == 51
    assert len(report.frames) == 6
    assert isinstance(report.frames[0].calc, SinglePointCalculator)


def test_a_run_that_blows_up_is_a_report_that_says_so() -> None:
    atoms = molecule("H2O")
    atoms.calc = springs()
    report = run_nve(atoms, timestep_fs=15.0, duration_ps=3.0, temperature_K=1000.0)
    assert not report.survived
    assert not report.passes(1e9)
    assert report.md.trouble


def test_a_structure_without_calculator_is_refused() -> None:
    with pytest.raises(ValueError, match="no calculator"):
        run_nve(molecule("H2O"))
