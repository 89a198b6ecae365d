"""An energy does not know where a molecule is, how it is turned, or how its atoms are numbered."""

import numpy as np
import torch
from ase import Atoms

from support.evaluation import energy, evaluate, moved, random_rotation

# float64: rounding of a few thousand operations. The trained energies are near 1e3 eV.
ENERGY_EV = 1e-9
FORCE_EV_PER_A = 1e-9


def test_energy_and_forces_do_not_change_when_a_molecule_moves(
    model: torch.nn.Module, molecules: list[Atoms]
) -> None:
    for atoms in molecules:
        here = evaluate(model, atoms)
        there = evaluate(model, moved(atoms, atoms.positions + np.array([13.7, -5.1, 101.3])))
        assert abs(there.energy - here.energy).max() < ENERGY_EV
        assert abs(there.forces - here.forces).max() < FORCE_EV_PER_A


def test_forces_turn_with_the_molecule_over_twenty_rotations_and_reflections(
    model: torch.nn.Module, molecules: list[Atoms]
) -> None:
    rng = np.random.default_rng(0)
    for trial in range(20):
        turn = random_rotation(rng) * (-1.0 if trial % 2 else 1.0)
        atoms = molecules[trial % len(molecules)]
        before = evaluate(model, atoms)
        after = evaluate(model, moved(atoms, atoms.positions @ turn.T))
        assert abs(after.energy - before.energy).max() < ENERGY_EV
        assert abs(after.forces - before.forces @ turn.T).max() < FORCE_EV_PER_A
        assert abs(after.virial - turn @ before.virial @ turn.T).max() < 1e-8
        assert abs(after.energy_uncertainty - before.energy_uncertainty).max() < ENERGY_EV
        assert abs(after.atom_novelty - before.atom_novelty).max() < 1e-8


def test_renumbering_the_atoms_renumbers_the_forces(
    model: torch.nn.Module, molecules: list[Atoms]
) -> None:
    rng = np.random.default_rng(1)
    for atoms in molecules:
        order = rng.permutation(len(atoms))
        before, after = evaluate(model, atoms), evaluate(model, atoms[order])
        assert abs(after.energy - before.energy).max() < ENERGY_EV
        assert abs(after.forces - before.forces[order]).max() < FORCE_EV_PER_A


def test_a_molecule_in_vacuum_feels_neither_net_force_nor_net_torque(
    model: torch.nn.Module, molecules: list[Atoms]
) -> None:
    for atoms in molecules:
        forces = evaluate(model, atoms).forces
        assert abs(forces.sum(0)).max() < 1e-13
        assert abs(np.cross(atoms.positions, forces).sum(0)).max() < 1e-9


def test_molecules_far_apart_do_not_know_of_each_other(
    model: torch.nn.Module, molecules: list[Atoms]
) -> None:
    first, second = molecules[0], molecules[1].copy()
    second.positions += [40.0, 0.0, 0.0]
    both = evaluate(model, first + second)
    alone = evaluate(model, first, second)
    assert abs(both.energy[0] - alone.energy.sum()) < ENERGY_EV
    assert abs(both.forces - alone.forces).max() < FORCE_EV_PER_A


def test_a_batch_gives_each_structure_what_it_gets_alone(
    model: torch.nn.Module, molecules: list[Atoms], crystal: Atoms, diamond: Atoms
) -> None:
    structures = [*molecules, crystal, diamond, Atoms("C"), Atoms("H2", [[0, 0, 0], [9, 0, 0]])]
    batch = evaluate(model, *structures)
    bounds = np.cumsum([0, *map(len, structures)])
    for b, atoms in enumerate(structures):
        alone = evaluate(model, atoms)
        assert abs(batch.energy[b] - alone.energy[0]) < ENERGY_EV
        assert abs(batch.forces[bounds[b] : bounds[b + 1]] - alone.forces).max() < FORCE_EV_PER_A
        assert abs(batch.virial[b] - alone.virial[0]).max() < 1e-8
        assert abs(batch.energy_uncertainty[b] - alone.energy_uncertainty[0]) < ENERGY_EV


def test_a_supercell_has_eight_times_the_energy_and_the_same_forces(
    model: torch.nn.Module, crystal: Atoms, diamond: Atoms
) -> None:
    for cell in (crystal, diamond):
        one, eight = evaluate(model, cell), evaluate(model, cell.repeat((2, 2, 2)))
        assert abs(eight.energy[0] - 8 * one.energy[0]) < 10 * ENERGY_EV
        assert abs(eight.forces - np.tile(one.forces, (8, 1))).max() < FORCE_EV_PER_A
        assert abs(eight.virial - 8 * one.virial).max() < 1e-7


def test_atoms_without_neighbors_have_zero_force_and_a_finite_energy(
    model: torch.nn.Module,
) -> None:
    lone = evaluate(model, Atoms("N"))
    assert np.isfinite(lone.energy).all()
    assert (lone.forces == 0).all()
    assert (lone.virial == 0).all()
    pair = Atoms("CO", positions=[[0, 0, 0], [0, 0, 7.0]])
    assert abs(energy(model, pair) - energy(model, Atoms("C")) - energy(model, Atoms("O"))) < 1e-9
