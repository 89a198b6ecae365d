"""What holds for the trained model in float64 holds, to float32, for what a client receives."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import graphene, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.verlet import VelocityVerlet

from forcegate_client import Client, RemoteCalculator
from forcegate_client.md.nve import draw_velocities
from forcegate_service.contract.card import ModelCard
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.evaluation import evaluate, moved, random_rotation
from support.models import REPOSITORY

MODEL = "painn_base"
# Edge vectors are rounded to float32 after they are formed, and rounded differently when turned.
SERVED_ENERGY_EV = 1e-4
SERVED_FORCE_EV_PER_A = 1e-4


@pytest.fixture(scope="module")
def calculator() -> Iterator[RemoteCalculator]:
    """The trained model over HTTP."""
    with (
        running_gateway(Settings(model_repository=REPOSITORY, runtime="in-process")) as url,
        Client(url) as client,
    ):
        yield RemoteCalculator(client=client, model=MODEL)


def _ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=0)
    return atoms


def test_the_served_energy_does_not_change_over_twenty_rotations(
    calculator: RemoteCalculator,
) -> None:
    rng = np.random.default_rng(0)
    atoms = _ethanol()
    energy, forces = _served(calculator, atoms)
    for _ in range(20):
        turn = random_rotation(rng)
        turned_energy, turned_forces = _served(calculator, moved(atoms, atoms.positions @ turn.T))
        assert abs(turned_energy - energy) < SERVED_ENERGY_EV
        assert abs(turned_forces - forces @ turn.T).max() < SERVED_FORCE_EV_PER_A


def test_what_is_served_is_what_the_exported_file_computes(calculator: RemoteCalculator) -> None:
    atoms = _ethanol()
    energy, forces = _served(calculator, atoms)
    version = REPOSITORY / MODEL / str(calculator.version)
    _, pair_cutoff = ModelCard.load(version).reach
    script = evaluate(torch.jit.load(str(version / "model.pt")), atoms, pair_cutoff=pair_cutoff)
    assert abs(energy - script.energy[0]) < 1e-5
    assert abs(forces - script.forces).max() < 1e-5


def test_served_forces_sum_to_zero(calculator: RemoteCalculator) -> None:
    _, forces = _served(calculator, _ethanol())
    assert abs(forces.sum(0)).max() < 1e-12


def test_a_slab_with_a_zero_third_cell_vector_is_served_but_has_no_stress(
    calculator: RemoteCalculator,
) -> None:
    slab = graphene(size=(2, 2, 1))
    assert (slab.cell[2] == 0).all()
    _, forces = _served(calculator, slab)
    assert np.isfinite(forces).all()
    with pytest.raises(PropertyNotImplementedError, match="three periodic axes"):
        slab.get_stress()


def test_structures_that_no_model_can_describe_have_no_energy(
    calculator: RemoteCalculator,
) -> None:
    sliver = molecule("H2O")
    sliver.rotate(90, "z")
    sliver.set_cell([1e6, 1.5, 1.5])
    sliver.pbc = True
    grid = np.stack(np.meshgrid(*[np.arange(5) * 1.5] * 3), axis=-1).reshape(-1, 3)
    block = Atoms("Cl125", positions=grid)
    good = molecule("H2O")
    client = calculator.client
    for model in client.models():
        answer = client.predict(
            [good, sliver, block], model["name"], on_error="partial"
        ).predictions
        assert answer.index.tolist() == [0]
        codes = {answer.problems[1]["code"], answer.problems[2]["code"]}
        assert codes <= {"prediction_implausible", "prediction_not_finite"}


def test_chlorine_that_is_pressed_into_carbon_is_refused_or_remarked_on_or_repelled(
    calculator: RemoteCalculator,
) -> None:
    chloride = molecule("CH3Cl")
    carbon, chlorine = (chloride.get_chemical_symbols().index(name) for name in ("C", "Cl"))
    axis = chloride.positions[chlorine] - chloride.positions[carbon]
    axis /= np.linalg.norm(axis)
    pressed = []
    for distance in np.arange(0.55, 1.75, 0.05):
        pressed.append(chloride.copy())
        pressed[-1].positions[chlorine] = chloride.positions[carbon] + distance * axis
    client = calculator.client
    for model in client.models():
        answer = client.predict(pressed, model["name"], on_error="partial").predictions
        assert len(answer.index) > 5
        for row, index in enumerate(answer.index.tolist()):
            push = answer.forces[5 * row + chlorine] @ axis
            assert push > 0.0 or answer.warnings.get(index)


def test_energy_is_conserved_over_http_to_a_fraction_of_the_kinetic_energy(
    calculator: RemoteCalculator,
) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.calc = calculator
    draw_velocities(atoms, 300.0, np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    totals, kinetic = [], []
    dynamics.attach(lambda: totals.append(atoms.get_total_energy()))
    dynamics.attach(lambda: kinetic.append(atoms.get_kinetic_energy()))
    dynamics.run(200)
    assert np.std(totals) < 0.05 * np.mean(kinetic)


def _served(calculator: RemoteCalculator, atoms: Atoms) -> tuple[float, np.ndarray]:
    atoms.calc = calculator
    return float(atoms.get_potential_energy()), atoms.get_forces()
