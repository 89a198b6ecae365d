"""Forces and virials are derivatives of the energy: by finite differences and by autograd."""

import numpy as np
import pytest
import torch
from ase import Atoms

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import build_graph
from forcegate_trainer.network.config import PRESETS
from support.evaluation import energy, evaluate, moved, rms
from support.models import random_potential


def _central(values: dict[int, float], step: float) -> float:
    """Fourth-order central difference from f(±h) and f(±2h)."""
    return (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * step)


def test_forces_are_minus_the_gradient_of_the_energy(
    model: torch.nn.Module, molecules: list[Atoms], crystal: Atoms
) -> None:
    step = 3e-4
    for atoms in [molecules[0], molecules[4], crystal]:
        forces = evaluate(model, atoms).forces
        scale = rms(forces)
        rng = np.random.default_rng(2)
        for _ in range(6):
            direction = rng.normal(size=atoms.positions.shape)
            direction /= np.linalg.norm(direction)
            along = {
                k: energy(model, moved(atoms, atoms.positions + k * step * direction))
                for k in (-2, -1, 1, 2)
            }
            assert abs(_central(along, step) + (forces * direction).sum()) < 1e-6 * scale


def test_virial_is_minus_the_derivative_by_strain(
    model: torch.nn.Module, crystal: Atoms, diamond: Atoms
) -> None:
    # Near symmetric sites the norms of vector features bend within a strain of 1e-3: a larger step
    # measures its own truncation.
    step = 2e-5
    for atoms in (crystal, diamond):
        virial = evaluate(model, atoms).virial[0]
        for a, b in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]:
            along = {}
            for k in (-2, -1, 1, 2):
                strain = np.zeros((3, 3))
                strain[a, b] += 0.5 * k * step
                strain[b, a] += 0.5 * k * step
                strained = atoms.copy()
                strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
                along[k] = energy(model, strained)
            scale = max(rms(virial), 1.0)
            assert abs(_central(along, step) + virial[a, b]) < 1e-6 * scale


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_backward_written_out_equals_autograd(
    name: str, molecules: list[Atoms], crystal: Atoms
) -> None:
    model = random_potential(name)
    batch = StructureBatch.from_atoms([*molecules, crystal])
    graph = build_graph(batch, 5.0)
    positions, numbers, edges, shift, owner, counts = map(torch.from_numpy, graph.arrays())
    positions.requires_grad_()
    total, forces, _, _, _ = model(positions, numbers, edges, shift, owner, counts)
    (gradient,) = torch.autograd.grad(total.sum(), positions)
    assert (forces + gradient).abs().max() < 1e-12 * forces.abs().max()


def test_training_gradients_through_the_written_backward_equal_finite_differences(
    molecules: list[Atoms],
) -> None:
    model = random_potential("painn_ultra_tiny")
    graph = build_graph(StructureBatch.from_atoms(molecules[:3]), 5.0)
    inputs = [torch.from_numpy(array) for array in graph.arrays()]

    def objective() -> torch.Tensor:
        energies, forces, _, _, _ = model.evaluate(*inputs)
        return energies.sum() + forces.square().sum()

    objective().backward()
    rng = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        assert parameter.grad is not None
        direction = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
        values, step = {}, 1e-4
        with torch.no_grad():
            for k in (-2, -1, 1, 2):
                parameter += k * step * direction
                values[k] = float(objective())
                parameter -= k * step * direction
        expected = float((parameter.grad * direction).sum())
        assert _central(values, step) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_model_is_finite_when_two_atoms_coincide(model: torch.nn.Module) -> None:
    answer = evaluate(model, Atoms("CO", positions=[[0, 0, 0], [0, 0, 0]]))
    assert np.isfinite(answer.energy).all()
    assert np.isfinite(answer.forces).all()
