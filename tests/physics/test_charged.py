"""A potential with charges: exact forces, the same symmetries, and physics at every distance."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.data import chemical_symbols, covalent_radii
from ase.units import kcal, mol

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.neighbors.pairs import PAIR_CUTOFF
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.torchscript import tensors_of
from forcegate_trainer.network.charged_potential import ChargedPotential
from forcegate_trainer.network.config import CHARGED_PRESETS
from forcegate_trainer.network.pair_physics import COULOMB, PairPhysics
from forcegate_trainer.teachers.aimnet2_file import load
from forcegate_trainer.teachers.aimnet2_parts import dispersion_of
from support.evaluation import moved, random_rotation
from support.models import random_weights, trained, trained_models
from support.teachers import aimnet2_file

KCAL = kcal / mol
TWELVE = CHARGED_PRESETS["painn_base"].elements
# What the parameters of each student may not exceed.
CEILINGS = {
    "painn_base": 427_292,
    "painn_compact": 213_000,
    "painn_tiny": 77_203,
    "painn_ultra_tiny": 21_459,
}


@pytest.fixture(
    scope="module", params=["painn_base", "painn_ultra_tiny", *trained_models(charges=True)]
)
def model(request: pytest.FixtureRequest) -> torch.nn.Module:
    """Random weights, then the published students."""
    if "/" in request.param:
        return trained(request.param)
    torch.manual_seed(0)
    return random_weights(ChargedPotential(CHARGED_PRESETS[request.param]).double())


def inputs_of(*structures: Atoms) -> list[torch.Tensor]:
    batch = StructureBatch.from_atoms(structures)
    return list(tensors_of(build_graph(batch, 5.0, PAIR_CUTOFF)))


def evaluate(model: torch.nn.Module, *structures: Atoms) -> ModelOutput:
    with torch.no_grad():
        return ModelOutput(*(out.numpy() for out in model(*inputs_of(*structures))))


@pytest.fixture(scope="module")
def molecules() -> list[Atoms]:
    """Molecules of all twelve elements, away from their symmetric minima."""
    made = [molecule(name) for name in ("CH3CH2OH", "C4H4S", "CH3Cl", "HCF3", "SiH4", "PH3")]
    made += [
        Atoms("BF4", [[0, 0, 0], [0.8, 0.8, 0.8], [-0.8, -0.8, 0.8], [-0.8, 0.8, -0.8],
                      [0.8, -0.8, -0.8]]),
        Atoms("CH2BrI", [[0, 0, 0], [0.6, 0.6, 0.7], [-0.6, -0.6, 0.7], [1.1, -1.1, -1.2],
                         [-1.3, 1.2, -1.3]]),
    ]  # fmt: skip
    for seed, atoms in enumerate(made):
        atoms.rattle(0.08, seed=seed)
    return made


@pytest.fixture(scope="module")
def crystal() -> Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=1)
    atoms.set_cell(np.array([[4.6, 0.0, 0.0], [1.1, 4.9, 0.0], [-0.7, 0.9, 4.4]]))
    atoms.pbc = True
    return atoms


def test_forces_are_the_gradient_of_the_energy_the_charges_share_included(
    model: torch.nn.Module, molecules: list[Atoms], crystal: Atoms
) -> None:
    pair = molecules[0] + moved(molecules[7], molecules[7].positions + 4.0)
    inputs = inputs_of(pair, crystal)
    inputs[0].requires_grad_(True)
    energy, forces, *_ = model(*inputs)
    (gradient,) = torch.autograd.grad(energy.sum(), inputs[0])
    assert (forces + gradient).abs().max() < 1e-10 * gradient.abs().max()


def test_the_virial_is_the_derivative_by_strain(model: torch.nn.Module, crystal: Atoms) -> None:
    virial = evaluate(model, crystal).virial[0]
    step = 1e-5
    for row, column in ((0, 0), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[row, column] += 0.5 * sign * step
            strain[column, row] += 0.5 * sign * step
            strained = crystal.copy()
            strained.set_cell(crystal.cell.array @ strain, scale_atoms=True)
            energies.append(evaluate(model, strained).energy[0])
        slope = -(energies[0] - energies[1]) / (2 * step)
        assert virial[row, column] == pytest.approx(slope, abs=1e-5)


def test_nothing_knows_where_a_molecule_is_how_it_is_turned_or_numbered(
    model: torch.nn.Module, molecules: list[Atoms]
) -> None:
    rng = np.random.default_rng(0)
    for trial, atoms in enumerate(molecules):
        turn = random_rotation(rng) * (-1.0 if trial % 2 else 1.0)
        order = rng.permutation(len(atoms))
        here = evaluate(model, atoms)
        there = evaluate(model, moved(atoms, atoms.positions @ turn.T + [13.7, -5.1, 101.3])[order])
        assert abs(there.energy - here.energy).max() < 1e-9
        assert abs(there.forces - (here.forces @ turn.T)[order]).max() < 1e-9
        assert abs(there.charges - here.charges[order]).max() < 1e-9
        assert abs(here.forces.sum(0)).max() < 1e-11


def test_a_batch_gives_each_structure_what_it_gets_alone(
    model: torch.nn.Module, molecules: list[Atoms], crystal: Atoms
) -> None:
    structures = [*molecules, crystal, Atoms("C")]
    batch = evaluate(model, *structures)
    bounds = np.cumsum([0, *map(len, structures)])
    for b, atoms in enumerate(structures):
        alone, where = evaluate(model, atoms), slice(bounds[b], bounds[b + 1])
        assert abs(batch.energy[b] - alone.energy[0]) < 1e-9
        assert abs(batch.forces[where] - alone.forces).max() < 1e-9
        assert abs(batch.charges[where] - alone.charges).max() < 1e-11


def test_a_supercell_has_eight_times_the_energy(model: torch.nn.Module, crystal: Atoms) -> None:
    one, eight = evaluate(model, crystal), evaluate(model, crystal.repeat((2, 2, 2)))
    assert abs(eight.energy[0] - 8 * one.energy[0]) < 1e-7
    assert abs(eight.forces - np.tile(one.forces, (8, 1))).max() < 1e-8
    assert abs(eight.virial - 8 * one.virial).max() < 1e-6


def test_molecules_far_apart_know_of_each_other_by_charges_and_dispersion_alone(
    model: torch.nn.Module, molecules: list[Atoms]
) -> None:
    first = molecules[0]
    second = moved(molecules[7], molecules[7].positions + np.array([20.0, 3.0, 0.0]))
    both, a, b = evaluate(model, first + second), evaluate(model, first), evaluate(model, second)
    np.testing.assert_allclose(both.charges, [*a.charges, *b.charges], atol=1e-12)
    distances = np.linalg.norm(first.positions[:, None] - second.positions[None], axis=-1)
    coulomb = COULOMB * (a.charges[:, None] * b.charges[None] / distances).sum()
    gained = both.energy[0] - a.energy[0] - b.energy[0]
    # Dispersion of so few atoms at 20 Å.
    assert gained == pytest.approx(coulomb, abs=2e-4)


def test_energy_and_forces_are_smooth_where_edges_and_pairs_end(model: torch.nn.Module) -> None:
    for end, box in ((5.0, None), (PAIR_CUTOFF, 40.0)):
        found = []
        for offset in (-1e-6, 1e-6):
            pair = Atoms("OI", [[0, 0, 0], [0, 0, end + offset]])
            if box is not None:
                pair.set_cell([box] * 3)
                pair.pbc = True
            found.append(evaluate(model, pair))
        assert abs(found[0].energy - found[1].energy).max() < 1e-5
        assert abs(found[0].forces - found[1].forces).max() < 1e-5


def test_the_exported_function_is_the_same_in_torchscript(molecules: list[Atoms]) -> None:
    torch.manual_seed(0)
    model = random_weights(ChargedPotential(CHARGED_PRESETS["painn_tiny"]))
    scripted = torch.jit.script(model)
    here, there = evaluate(model, *molecules), evaluate(scripted, *molecules)
    for name, ours, theirs in zip(ModelOutput._fields, here, there, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("preset", CEILINGS)
def test_a_student_keeps_to_its_number_of_parameters(preset: str) -> None:
    model = ChargedPotential(CHARGED_PRESETS[preset])
    assert sum(p.numel() for p in model.parameters()) <= CEILINGS[preset]


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.combinations_with_replacement(TWELVE, 2)),
    ids=lambda z: chemical_symbols[z],
)  # fmt: skip
def test_bare_atoms_repel_from_a_tenth_of_an_angstrom_to_two_thirds_of_the_core(
    first: int, second: int
) -> None:
    physics = PairPhysics((first, second))
    reach = 0.7 * (covalent_radii[first] + covalent_radii[second])
    distance = torch.linspace(0.1, 0.67 * reach, 200, dtype=torch.float64)
    one, two = torch.zeros(200, dtype=torch.int64), torch.ones(200, dtype=torch.int64)
    _, _, energy, slope = physics(distance, one, two, torch.zeros(200, dtype=torch.float64))
    assert (slope < 0).all()
    assert (energy[:50] > 1.0).all()


def test_the_core_is_gone_where_bonds_begin() -> None:
    physics = PairPhysics(TWELVE)
    for z, radius in ((0, covalent_radii[1]), (2, covalent_radii[6])):
        distance = torch.tensor([1.4 * radius + 1e-9], dtype=torch.float64)
        value, slope = physics.core(distance, torch.tensor([z]), torch.tensor([z]))
        assert float(value) == 0.0
        assert float(slope) == 0.0


def test_dispersion_of_two_benzenes_is_that_of_the_teacher() -> None:
    network = load(aimnet2_file()).models.__getattr__("0").module
    benzene = molecule("C6H6")
    physics = PairPhysics(TWELVE)
    elements = torch.tensor([TWELVE.index(z) for z in benzene.numbers])
    for height in (4.5, 6.0, 8.0):
        other = benzene.positions + np.array([0.0, 0.0, height])
        distance = np.linalg.norm(benzene.positions[:, None] - other[None], axis=-1).ravel()
        first, second = elements.repeat_interleave(12), elements.repeat(12)
        ours, _ = physics.dispersion(torch.from_numpy(distance), first, second)
        numbers = torch.as_tensor(benzene.numbers)
        both = torch.tensor(np.concatenate([benzene.positions, other]), dtype=torch.float32)
        alone = dispersion_of(network, both[:12], numbers)
        theirs = dispersion_of(network, both, numbers.repeat(2)) - 2 * alone
        assert float(ours.sum()) == pytest.approx(float(theirs), abs=0.1 * KCAL)
