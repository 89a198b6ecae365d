"""What must hold of any potential: symmetries, gradients, sizes, and what lies far away."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.units import Bohr, Hartree

from forcegate_client.structures import StructureBatch
from forcegate_engine import EngineError, Evaluation
from support.engine import CHARGED, KINDS, engine, evaluated, liquid
from support.evaluation import random_rotation

STUDENTS = ("painn_tiny", CHARGED)
# eV and eV/Å; what float32 inside the network leaves.
CLOSE = 2e-5


def answer(name: str, *structures: Atoms) -> Evaluation:
    return evaluated(engine(name), StructureBatch.from_atoms(structures))


@pytest.mark.parametrize("name", STUDENTS)
def test_energy_stays_and_forces_turn_with_the_molecule(name: str) -> None:
    rng = np.random.default_rng(0)
    atoms = liquid(rng, 4)
    rotation, order = random_rotation(rng), rng.permutation(len(atoms))
    moved = atoms[order]
    moved.positions = moved.positions @ rotation.T + rng.uniform(-30.0, 30.0, 3)
    one, other = answer(name, atoms), answer(name, moved)
    assert other.energy[0] == pytest.approx(one.energy[0], abs=CLOSE)
    np.testing.assert_allclose(other.forces, one.forces[order] @ rotation.T, atol=CLOSE)
    np.testing.assert_allclose(other.virial[0], rotation @ one.virial[0] @ rotation.T, atol=1e-4)
    np.testing.assert_allclose(other.atom_novelty, one.atom_novelty[order], atol=1e-4)


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_atoms_may_leave_the_cell_and_the_cell_may_be_repeated(name: str, kind: str) -> None:
    rng = np.random.default_rng(1)
    atoms = liquid(rng, 3, kind)
    away, shifts = atoms.copy(), rng.integers(-5, 5, (len(atoms), 3)) * atoms.pbc
    away.positions += shifts @ atoms.cell.array
    double = atoms.repeat([2 if axis else 1 for axis in atoms.pbc])
    one, same, many = (answer(name, each) for each in (atoms, away, double))
    assert same.energy[0] == pytest.approx(one.energy[0], abs=CLOSE)
    np.testing.assert_allclose(same.forces, one.forces, atol=CLOSE)
    copies = len(double) // len(atoms)
    assert many.energy[0] == pytest.approx(copies * one.energy[0], abs=copies * CLOSE)
    np.testing.assert_allclose(many.forces, np.tile(one.forces, (copies, 1)), atol=CLOSE)


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("steps", [(1, 0, 0), (0, -2, 3), (-7, 4, 5)])
def test_one_lattice_has_one_answer_by_whichever_vectors_it_is_given(
    name: str, steps: tuple[int, int, int]
) -> None:
    atoms = liquid(np.random.default_rng(6), 5, "triclinic")
    skewed = atoms.copy()
    a, b, c = atoms.cell.array
    first, second, third = steps
    skewed.set_cell([a, b + first * a, c + second * a + third * b])
    # The other way round is another hand, and the same lattice.
    turned = skewed.copy()
    turned.set_cell(skewed.cell.array[::-1])
    given, *others = (answer(name, each) for each in (atoms, skewed, turned))
    for other in others:
        assert other.energy[0] == pytest.approx(given.energy[0], abs=CLOSE)
        np.testing.assert_allclose(other.forces, given.forces, atol=CLOSE)
        np.testing.assert_allclose(other.virial, given.virial, atol=1e-4)


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_forces_are_minus_the_gradient_and_vanish_together(name: str, kind: str) -> None:
    rng = np.random.default_rng(2)
    atoms = liquid(rng, 3, kind)
    forces = answer(name, atoms).forces
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-9)
    step = 5e-3
    for _ in range(6):
        direction = rng.normal(size=forces.shape)
        direction /= np.linalg.norm(direction)
        ends = [atoms.copy(), atoms.copy()]
        for end, sign in zip(ends, (1.0, -1.0), strict=True):
            end.positions += sign * step * direction
        up, down = answer(name, *ends).energy
        slope = (up - down) / (2.0 * step)
        assert slope == pytest.approx(-(forces * direction).sum(), abs=2e-3)


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("kind", ["bulk", "triclinic"])
def test_the_virial_is_what_a_strained_cell_costs(name: str, kind: str) -> None:
    rng = np.random.default_rng(3)
    atoms = liquid(rng, 3, kind)
    virial = answer(name, atoms).virial[0]
    np.testing.assert_allclose(virial, virial.T, atol=1e-12)
    step = 2e-3
    for _ in range(4):
        strain = rng.normal(size=(3, 3))
        strain = (strain + strain.T) / np.linalg.norm(strain + strain.T)
        ends = []
        for sign in (1.0, -1.0):
            end = atoms.copy()
            end.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * strain), scale_atoms=True)
            ends.append(end)
        up, down = answer(name, *ends).energy
        assert (up - down) / (2.0 * step) == pytest.approx(-(virial * strain).sum(), abs=0.02)


@pytest.mark.parametrize("name", STUDENTS)
def test_what_is_far_apart_costs_what_it_costs_alone(name: str) -> None:
    """To a student with charges, as much as the Coulomb energy of what is apart beside that."""
    rng = np.random.default_rng(4)
    one, other = liquid(rng, 2), liquid(rng, 1)
    pair = one.copy()
    apart = other.copy()
    apart.positions += [0.0, 0.0, 60.0]
    pair += apart
    whole, parts = answer(name, pair), answer(name, one, other)
    expected = float(parts.energy.sum())
    if whole.charges is not None and parts.charges is not None:
        np.testing.assert_allclose(whole.charges, parts.charges, atol=1e-6)
        n = len(one)
        distances = np.linalg.norm(pair.positions[:n, None] - pair.positions[None, n:], axis=2)
        products = parts.charges[:n, None] * parts.charges[None, n:]
        expected += float(Hartree * Bohr * (products / distances).sum())
    assert whole.energy[0] == pytest.approx(expected, abs=1e-4)


def test_beyond_the_network_two_atoms_have_charges_and_dispersion() -> None:
    """No network reaches there, so what a student with charges says is physics."""
    near, far = 5.2, 6.0
    pairs = [Atoms("C2", [[0, 0, 0], [0, 0, d]]) for d in (near, far)]
    found = answer(CHARGED, *pairs)
    q = found.charges[:2] if found.charges is not None else np.zeros(2)
    coulomb = Hartree * Bohr * q[0] * q[1] * (1.0 / near - 1.0 / far)
    # Dispersion attracts by some meV; C6 of two carbons, with Grimme's form for the rest.
    rest = (found.energy[0] - found.energy[1]) - coulomb
    assert -6e-3 < rest < 0.0


@pytest.mark.parametrize("name", STUDENTS)
def test_atoms_that_meet_have_a_finite_answer_or_an_error_that_names_them(name: str) -> None:
    atoms = molecule("H2O")
    atoms.positions[1] = atoms.positions[0]
    try:
        blamed, forces = None, answer(name, atoms).forces
    except EngineError as error:
        blamed, forces = error.structure, np.zeros(3)
    assert blamed in (None, 0)
    assert np.isfinite(forces).all()
