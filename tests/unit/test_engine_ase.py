"""The engine behind ASE: the same numbers as over the gateway's runtime, in its conventions."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_stress
from ase.md.verlet import VelocityVerlet

from forcegate_engine import EngineError, integrate
from forcegate_engine.ase import Calculator
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from forcegate_trainer.simulation.exported import RuntimeCalculator
from support.engine import CHARGED, NEUTRAL, engine, liquid
from support.models import newest_version


@pytest.mark.parametrize("kind", ["open", "triclinic"])
def test_it_answers_as_the_gateways_runtime_does(kind: str) -> None:
    folder = newest_version("painn_tiny")
    atoms = liquid(np.random.default_rng(8), 3, kind)
    here, there = atoms.copy(), atoms.copy()
    here.calc = Calculator(folder)
    there.calc = RuntimeCalculator(TorchScriptRuntime(folder))
    assert here.get_potential_energy() == pytest.approx(there.get_potential_energy(), abs=1e-5)
    np.testing.assert_allclose(here.get_forces(), there.get_forces(), atol=1e-5)
    if kind == "triclinic":
        numeric = calculate_numerical_stress(here, eps=2e-3)
        np.testing.assert_allclose(here.get_stress(), numeric, atol=2e-5)
    else:
        with pytest.raises(PropertyNotImplementedError, match="stress of this structure"):
            here.get_stress()
    assert here.calc.energy_uncertainty > 0.0
    assert here.calc.max_novelty > 0.0


def test_a_structure_that_has_not_changed_is_not_evaluated_again() -> None:
    atoms = molecule("CH3OH")
    atoms.calc = Calculator(engine(NEUTRAL))
    assert atoms.get_forces() is not None
    assert not atoms.calc.calculation_required(atoms, ["forces"])
    atoms.positions[0] += 0.01
    assert atoms.calc.calculation_required(atoms, ["forces"])
    # A student of neutral molecules.
    with pytest.raises(PropertyNotImplementedError, match="charges"):
        atoms.get_charges()


def test_charges_and_dipoles_come_from_students_that_know_them() -> None:
    atoms = molecule("H2O")
    found = engine(CHARGED).evaluate(atoms.numbers, atoms.positions)
    assert found.charges is not None
    net = round(float(found.charges.sum()))
    atoms.calc = Calculator(engine(CHARGED), charge=net)
    np.testing.assert_array_equal(atoms.get_charges(), found.charges)
    offsets = atoms.positions - atoms.get_center_of_mass()
    np.testing.assert_allclose(atoms.get_dipole_moment(), found.charges @ offsets)


def test_a_net_charge_is_read_and_changes_what_was_answered() -> None:
    atoms = molecule("H2O")
    found = engine(CHARGED).evaluate(atoms.numbers, atoms.positions)
    assert found.charges is not None
    atoms.calc = Calculator(engine(CHARGED))
    atoms.info["charge"] = round(float(found.charges.sum()))
    assert np.isfinite(atoms.get_potential_energy())
    atoms.info["charge"] += 3
    with pytest.raises(EngineError, match="net charge"):
        atoms.get_potential_energy()
    del atoms.info["charge"]
    atoms.set_initial_charges([0.5, 0.0, 0.0])
    with pytest.raises(EngineError, match="whole one"):
        atoms.get_potential_energy()
    atoms.info["charge"] = "many"
    with pytest.raises(EngineError, match="'many'"):
        atoms.get_potential_energy()


def test_ases_dynamics_and_the_engines_are_one() -> None:
    rng = np.random.default_rng(9)
    atoms: Atoms = liquid(rng, 2)
    speeds = rng.normal(scale=0.005, size=(len(atoms), 3))  # Å/fs
    found = integrate(
        *(engine("painn_tiny"), atoms.numbers, atoms.positions, speeds, atoms.get_masses()),
        steps=20,
        timestep_fs=0.5,
    )
    atoms.set_velocities(speeds / units.fs)
    atoms.calc = Calculator(engine("painn_tiny"))
    VelocityVerlet(atoms, 0.5 * units.fs).run(20)
    np.testing.assert_allclose(atoms.positions, found.positions, atol=1e-6)
    np.testing.assert_allclose(atoms.get_velocities() * units.fs, found.velocities, atol=1e-6)
