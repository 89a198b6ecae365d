"""Normal modes: those of springs are known, those of molecules are near experiment."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixBondLength
from ase.optimize import LBFGS
from ase.vibrations import VibrationsData
from typer.testing import CliRunner, Result

from forcegate_client import Client, LocalCalculator
from forcegate_client.cli.app import app
from forcegate_client.errors import InvalidStructure
from forcegate_client.images.displacements import Hessian
from forcegate_client.images.hessian import hessian_of
from forcegate_client.images.vibrations import Vibrations, vibrations_of
from forcegate_client.local.models import LocalModels
from forcegate_client.testing import LENGTH_A, SPRING_EV_PER_A2, FakeServer

# A harmonic frequency of a network to experiment's; a wrong mass or unit is off by factors.
LIKE_EXPERIMENT_CM = 160.0


@pytest.fixture(scope="module")
def local() -> LocalModels:
    return LocalModels(threads=1)


def relaxed(local: LocalModels, name: str, model: str = "painn_base") -> Atoms:
    atoms = molecule(name)
    atoms.calc = LocalCalculator(model, local=local, use="")
    LBFGS(atoms, logfile=None).run(fmax=1e-3, steps=200)
    return atoms


def modes_of(local: LocalModels, name: str) -> Vibrations:
    atoms = relaxed(local, name)
    return vibrations_of(atoms, hessian_of(local, atoms))


def of_springs(atoms: Atoms) -> Hessian:
    with Client(transport=FakeServer().transport) as client:
        return hessian_of(client, atoms, "springs")


def test_two_atoms_on_a_spring_have_the_frequency_of_the_textbook() -> None:
    atoms = Atoms("CO", [[0, 0, 0], [LENGTH_A, 0, 0]])
    found = vibrations_of(atoms, of_springs(atoms))
    first, second = atoms.get_masses()
    omega = np.sqrt(
        SPRING_EV_PER_A2 * units._e * 1e20 * (first + second) / (first * second * units._amu)
    )
    assert found.frequencies == pytest.approx([omega / (2 * np.pi * units._c * 100)], rel=1e-5)
    assert found.zero_point_energy == pytest.approx(found.energies[0] / 2)
    assert found.intensities is None


def test_modes_of_a_molecule_are_those_of_ase(local: LocalModels) -> None:
    atoms = relaxed(local, "CH3OH")
    hessian = hessian_of(local, atoms)
    found = vibrations_of(atoms, hessian)
    data = VibrationsData.from_2d(atoms, hessian.matrix)
    theirs = np.array(data.get_frequencies())[6:]
    assert len(found.frequencies) == 3 * len(atoms) - 6
    # Those that turn the molecule as a whole are in ASE's to a small part.
    assert found.frequencies == pytest.approx(theirs.real, abs=5.0)
    # Orthonormal once weighted by the masses.
    weighted = (found.modes * np.sqrt(atoms.get_masses())[:, None]).reshape(len(theirs), -1)
    assert weighted @ weighted.T == pytest.approx(np.eye(len(theirs)), abs=1e-10)


# Harmonic frequencies in cm⁻¹, and entropy at 298.15 K in J/mol/K, from experiment.
EXPERIMENT = {
    "H2O": ([1649, 3832, 3943], 188.8, 2),
    "NH3": ([1022, 1691, 1691, 3506, 3577, 3577], 192.8, 3),
}


@pytest.mark.parametrize("name", EXPERIMENT)
def test_frequencies_and_entropies_are_near_those_of_experiment(
    name: str, local: LocalModels
) -> None:
    frequencies, entropy, symmetry = EXPERIMENT[name]
    found = modes_of(local, name)
    assert found.frequencies == pytest.approx(frequencies, abs=LIKE_EXPERIMENT_CM)
    at = found.thermochemistry(298.15, 1e5, symmetry)
    assert at.entropy / (units.kJ / units.mol) * 1000 == pytest.approx(entropy, abs=1.0)
    assert at.gibbs_energy == pytest.approx(at.enthalpy - 298.15 * at.entropy)


def test_modes_that_move_no_charge_absorb_nothing(local: LocalModels) -> None:
    found = modes_of(local, "C6H6")
    assert len(found.frequencies) == 30
    assert found.imaginary == 0
    assert found.intensities is not None
    # Of benzene's thirty modes seven absorb: one of A2u and three pairs of E1u.
    strong = found.intensities > 1.0
    assert 3 <= np.count_nonzero(strong) <= 7
    # The strongest is all hydrogens out of the plane, near 673 cm⁻¹.
    assert found.frequencies[found.intensities.argmax()] == pytest.approx(673, abs=150)


def test_what_turns_does_not_count_as_a_vibration(local: LocalModels) -> None:
    assert len(modes_of(local, "H2").frequencies) == 1
    assert len(modes_of(local, "C2H2").frequencies) == 7


def test_an_atom_alone_has_no_vibration_and_an_entropy() -> None:
    atoms = Atoms("C")
    found = vibrations_of(atoms, of_springs(atoms))
    assert found.zero_point_energy == 0.0
    assert found.thermochemistry().entropy > 0.0


def test_atoms_that_are_held_do_not_move(local: LocalModels) -> None:
    atoms = relaxed(local, "CH3OH")
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    found = vibrations_of(atoms, hessian_of(local, atoms))
    assert len(found.frequencies) == 3 * (len(atoms) - 3)
    assert found.modes[:, :3] == pytest.approx(np.zeros_like(found.modes[:, :3]))
    assert found.thermochemistry().pressure is None


def test_a_constraint_that_is_not_understood_is_refused() -> None:
    atoms = molecule("H2O")
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(InvalidStructure, match="FixBondLength"):
        vibrations_of(atoms, of_springs(atoms))


def test_a_crystal_has_no_rotations() -> None:
    atoms = bulk("C", "diamond", a=3.57)
    found = vibrations_of(atoms, of_springs(atoms))
    assert len(found.frequencies) == 3
    assert not found.free


def test_a_saddle_has_an_imaginary_mode_and_no_thermochemistry(local: LocalModels) -> None:
    eclipsed = molecule("C2H6")
    # By symmetry it stays as it is turned.
    eclipsed.rotate_dihedral(2, 0, 1, 5, 60.0, indices=[5, 6, 7])
    eclipsed.calc = LocalCalculator(local=local, use="")
    LBFGS(eclipsed, logfile=None).run(fmax=0.01, steps=50)
    found = vibrations_of(eclipsed, hessian_of(local, eclipsed))
    assert found.imaginary == 1
    assert found.frequencies[0] < 0.0
    with pytest.raises(InvalidStructure, match="imaginary"):
        found.thermochemistry()


def forcegate(*words: str) -> Result:
    return CliRunner().invoke(app, ["vibrations", *words, "--local"])


def test_the_command_gives_the_modes_of_the_minimum() -> None:
    done = forcegate("--smiles", "O", "--json", "--symmetry-number", "2")
    assert done.exit_code == 0, done.output
    (water,) = json.loads(done.stdout)["structures"]
    assert water["frequencies"] == pytest.approx(EXPERIMENT["H2O"][0], abs=LIKE_EXPERIMENT_CM)
    assert len(water["intensities"]) == 3
    assert water["thermochemistry"]["temperature"] == 298.15
    assert water["remarks"] == []
    assert water["model"] == "painn_base"


def test_the_command_says_what_is_wrong_with_a_geometry_that_is_no_minimum() -> None:
    done = forcegate("--smiles", "O", "--no-relax")
    assert done.exit_code == 0, done.output
    assert "not a stationary point" in done.output


def test_the_command_goes_on_after_a_structure_that_is_refused() -> None:
    done = forcegate("--smiles", "[Fe]", "--smiles", "O", "--csv")
    assert done.exit_code == 3
    rows = done.stdout.splitlines()
    assert len([row for row in rows if row.startswith("O,")]) == 3
    assert "1 of 2 structures could not be computed" in done.output
