"""Evaluate a module on ASE structures, through the graph builder that the gateway uses."""

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.runtime import ModelOutput

CUTOFF = 5.0


def evaluate(
    model: torch.nn.Module,
    *structures: Atoms,
    cutoff: float = CUTOFF,
    pair_cutoff: float | None = None,
) -> ModelOutput:
    """The model's answer for all structures in one batch."""
    graph = build_graph(StructureBatch.from_atoms(structures), cutoff, pair_cutoff)
    with torch.inference_mode():
        outputs = model(*(torch.tensor(array) for array in graph.arrays()))
    return ModelOutput(*(output.numpy() for output in outputs))


def energy(model: torch.nn.Module, atoms: Atoms) -> float:
    """Energy in eV."""
    return float(evaluate(model, atoms).energy[0])


def moved(atoms: Atoms, positions: np.ndarray) -> Atoms:
    """A copy with other positions."""
    copy = atoms.copy()
    copy.positions = positions
    return copy


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A rotation matrix [3, 3], uniform over SO(3)."""
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


def rms(values: Sequence[float] | np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))
