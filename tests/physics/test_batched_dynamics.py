"""Molecules that move side by side move as each would alone, by the laws of mechanics."""

import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import BaseCalculator, CalculationFailed
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.md.verlet import VelocityVerlet

from forcegate_client.structures import StructureBatch
from forcegate_service.runtimes.fake import FakeRuntime, write_fake_model
from forcegate_trainer.simulation.exported import RuntimeCalculator, RuntimePotential
from forcegate_trainer.simulation.integrators import langevin, velocity_verlet
from forcegate_trainer.simulation.motion import Motion, begin, thermal_velocities
from forcegate_trainer.simulation.potential import BatchPotential, CalculatorPotential, Evaluation

SAME = 1e-10  # Å, and Å per ASE time unit
SEED = 11


def _molecules() -> list[Atoms]:
    structures = [molecule(name) for name in ("H2O", "CH3CH2OH", "CH4")]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.03, seed=seed)
    return structures


def _clusters() -> list[Atoms]:
    rng = np.random.default_rng(SEED)
    corners = 1.1 * np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    return [
        Atoms(f"Ar{size}", corners[:size] + 0.05 * rng.standard_normal((size, 3)))
        for size in (2, 5, 8)
    ]


def _lennard_jones() -> BaseCalculator:
    return LennardJones(sigma=1.0, epsilon=0.05, rc=6.0, smooth=True)


@pytest.fixture
def fake(tmp_path: object) -> RuntimePotential:
    card = write_fake_model(tmp_path)
    return RuntimePotential(FakeRuntime(card))


def _start(structures: list[Atoms], potential: BatchPotential, kelvin: float) -> Motion:
    batch = StructureBatch.from_atoms(structures)
    rng = np.random.default_rng(SEED)
    return begin(batch, potential, thermal_velocities(batch, np.full(len(batch), kelvin), rng))


def _part(motion: Motion, row: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    bounds = motion.batch.offsets
    where = slice(bounds[row], bounds[row + 1])
    return motion.batch.positions[where], motion.velocities[where]


@pytest.mark.parametrize(
    ("structures", "make"),
    [(_molecules(), EMT), (_clusters(), _lennard_jones)],
    ids=["molecules under EMT", "clusters under Lennard-Jones"],
)
def test_velocity_verlet_of_many_is_ases_of_each(
    structures: list[Atoms], make: type[BaseCalculator]
) -> None:
    potential = CalculatorPotential(make)
    start = _start(structures, potential, 400.0)
    velocities = [_part(start, row)[1].copy() for row in range(len(structures))]
    end = velocity_verlet(start, potential, timestep_fs=0.7, steps=120)
    assert len(end) == len(structures)
    for row, atoms in enumerate(structures):
        alone = atoms.copy()
        alone.calc = make()
        alone.set_velocities(velocities[row])
        VelocityVerlet(alone, 0.7 * units.fs).run(120)
        positions, speed = _part(end, row)
        np.testing.assert_allclose(positions, alone.positions, rtol=0, atol=SAME)
        np.testing.assert_allclose(speed, alone.get_velocities(), rtol=0, atol=SAME)
        assert np.abs(positions - atoms.positions).max() > 0.01


def test_a_served_batch_moves_as_ase_moves_each_through_the_same_runtime(
    fake: RuntimePotential, tmp_path: object
) -> None:
    structures = _molecules()
    start = _start(structures, fake, 300.0)
    velocities = [_part(start, row)[1].copy() for row in range(len(structures))]
    end = velocity_verlet(start, fake, timestep_fs=0.5, steps=60)
    card = write_fake_model(tmp_path, name="alone")
    for row, atoms in enumerate(structures):
        alone = atoms.copy()
        alone.calc = RuntimeCalculator(FakeRuntime(card))
        alone.set_velocities(velocities[row])
        VelocityVerlet(alone, 0.5 * units.fs).run(60)
        np.testing.assert_allclose(_part(end, row)[0], alone.positions, rtol=0, atol=SAME)


class _Breaking:
    """EMT for all, but member ``victim`` feels a force beyond all reason from call ``when`` on."""

    def __init__(self, victim: int, when: int) -> None:
        self._potential = CalculatorPotential(EMT)
        self._victim, self._when, self._calls = victim, when, 0

    def __call__(self, batch: StructureBatch, members: npt.NDArray[np.int64]) -> Evaluation:
        self._calls += 1
        found = self._potential(batch, members)
        if self._calls >= self._when and self._victim in members:
            row = int(np.flatnonzero(members == self._victim)[0])
            found.forces[batch.offsets[row] : batch.offsets[row + 1]] = np.nan
        return found


def test_a_molecule_that_blows_up_leaves_without_disturbing_the_others() -> None:
    structures = _molecules()
    undisturbed = CalculatorPotential(EMT)
    whole = velocity_verlet(
        _start(structures, undisturbed, 300.0), undisturbed, timestep_fs=0.5, steps=80
    )
    breaking = _Breaking(victim=1, when=30)
    left = velocity_verlet(_start(structures, breaking, 300.0), breaking, timestep_fs=0.5, steps=80)
    assert left.members.tolist() == [0, 2]
    for row, member in enumerate(left.members.tolist()):
        for mine, theirs in zip(_part(left, row), _part(whole, member), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_the_error_of_the_total_energy_falls_with_the_square_of_the_timestep() -> None:
    potential = CalculatorPotential(_lennard_jones)
    errors = []
    for timestep_fs in (4.0, 2.0, 1.0):
        energies: list[npt.NDArray[np.float64]] = []

        def keep(step: int, motion: Motion, kept: list[npt.NDArray[np.float64]] = energies) -> None:
            kept.append(motion.energies + motion.kinetic_energies)

        start = _start(_clusters(), potential, 100.0)
        first = start.energies + start.kinetic_energies
        velocity_verlet(
            start, potential, timestep_fs=timestep_fs, steps=round(200 / timestep_fs), on_step=keep
        )
        errors.append(np.abs(np.array(energies) - first).max(axis=0))
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    np.testing.assert_allclose(ratios, 4.0, rtol=0.15)


class _Springs:
    """Every atom on a spring of its own: E = ½ k Σ r², exactly harmonic."""

    def __init__(self, stiffness: float) -> None:
        self._stiffness = stiffness

    def __call__(self, batch: StructureBatch, members: npt.NDArray[np.int64]) -> Evaluation:
        squares = (batch.positions**2).sum(axis=1)
        energies = 0.5 * self._stiffness * np.add.reduceat(squares, batch.offsets[:-1])
        return Evaluation(energies, -self._stiffness * batch.positions, np.zeros(len(batch)))


def test_langevin_dynamics_samples_the_temperature_of_each_molecule() -> None:
    """BAOAB gives ⟨r²⟩ = k_B T / k of a spring exactly; the kinetic energy to second order."""
    stiffness, kelvin = 5.0, np.array([150.0, 300.0, 600.0])
    springs = _Springs(stiffness)
    batch = StructureBatch.from_atoms([Atoms("C40", np.zeros((40, 3))) for _ in kelvin])
    rng = np.random.default_rng(SEED)
    motion = begin(batch, springs, np.zeros_like(batch.positions))
    motion = langevin(motion, springs, kelvin, steps=400, rng=rng)
    seen = []

    def keep(step: int, moving: Motion) -> None:
        if step % 10 == 0:
            spread = 2.0 * moving.energies / (stiffness * 120)
            seen.append((stiffness * spread / units.kB, moving.temperatures(np.full(3, 120))))

    langevin(motion, springs, kelvin, steps=4000, rng=rng, on_step=keep)
    positional, kinetic = np.mean(seen, axis=0)
    # 120 degrees of freedom, some 100 independent moments: 1.3 % of statistical error.
    np.testing.assert_allclose(positional, kelvin, rtol=0.05)
    np.testing.assert_allclose(kinetic, kelvin, rtol=0.05)


def test_calculators_are_not_mixed_up_between_runs_that_number_other_molecules_alike() -> None:
    potential = CalculatorPotential(EMT)
    first, second, _ = _molecules()
    zero = np.zeros(1, dtype=np.int64)
    potential(StructureBatch.from_atoms([first]), zero)
    found = potential(StructureBatch.from_atoms([second]), zero)
    alone = second.copy()
    alone.calc = EMT()
    assert found.energies[0] == pytest.approx(alone.get_potential_energy(), abs=1e-12)


class _KnowsNoUranium(EMT):
    def calculate(self, atoms: Atoms, *arguments: object) -> None:
        if "U" in atoms.symbols:
            raise CalculationFailed("it did not converge")
        super().calculate(atoms, *arguments)


def test_a_calculator_that_fails_fails_for_its_molecule_alone() -> None:
    potential = CalculatorPotential(_KnowsNoUranium)
    water, ethanol, _ = _molecules()
    water.numbers[0] = 92
    found = potential(StructureBatch.from_atoms([water, ethanol]), np.arange(2))
    assert np.isfinite(found.energies).tolist() == [False, True]
    assert np.isfinite(found.forces).all(axis=1).tolist() == [False] * 3 + [True] * 9
