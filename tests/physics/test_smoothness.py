"""Nothing jumps: neither when a neighbor crosses the cutoff nor anywhere inside it."""

import numpy as np
import torch
from ase import Atoms

from support.evaluation import CUTOFF, evaluate


def _pulled(base: Atoms, distance: float) -> Atoms:
    """``base`` with an oxygen atom ``distance`` Å ahead of its outermost atom.

    Every other atom is farther from the oxygen than that one.
    """
    direction = np.array([0.36, 0.48, 0.8])
    outermost = base.positions[np.argmax(base.positions @ direction)]
    return base + Atoms("O", positions=[outermost + distance * direction])


def test_energy_and_forces_are_continuous_where_a_neighbor_crosses_the_cutoff(
    model: torch.nn.Module, molecules: list[Atoms]
) -> None:
    width = 1e-4
    for base in molecules[:3]:
        inside = evaluate(model, _pulled(base, CUTOFF - width))
        outside = evaluate(model, _pulled(base, CUTOFF + width))
        assert abs(outside.energy - inside.energy).max() < 1e-6
        assert abs(outside.forces - inside.forces).max() < 1e-4


def test_a_skin_beyond_the_cutoff_changes_nothing(
    model: torch.nn.Module, molecules: list[Atoms], crystal: Atoms
) -> None:
    for atoms in [*molecules, crystal]:
        tight, skin = evaluate(model, atoms), evaluate(model, atoms, cutoff=CUTOFF + 0.7)
        assert abs(skin.energy - tight.energy).max() < 1e-9
        assert abs(skin.forces - tight.forces).max() < 1e-9


def test_forces_have_no_kinks_along_a_path_through_the_cutoff(
    model: torch.nn.Module, molecules: list[Atoms]
) -> None:
    # Halving the step must quarter the second differences of a C² energy's force, wherever the
    # largest one sits; a kink would only halve it.
    def largest(step: float) -> float:
        distances = np.arange(CUTOFF - 0.4, CUTOFF + 0.2, step)
        forces = np.array([evaluate(model, _pulled(molecules[0], r)).forces for r in distances])
        return float(np.abs(np.diff(forces, n=2, axis=0)).max())

    assert largest(0.005) < 0.35 * largest(0.01)
