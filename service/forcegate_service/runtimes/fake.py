"""A runtime without torch and without training, for tests and for trying out a client.

Its "model" is a soft repulsion, E = ½ Σ_edges k √(Z_i Z_j) (1 − r²/r_c²)³: smooth at the cutoff,
finite everywhere, with exact forces and virial. It describes no chemistry, and its card says so.
One of interface 2 has charges, which edges move from one end to the other: whatever it is asked
about is neutral.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from forcegate_client.messages import UNITS
from forcegate_service.contract.card import MODEL_NAME, ModelCard, Reference
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.graph import Graph, build_graph, edge_vectors, listed
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.size import MemoryNeed
from forcegate_service.contract.structures import Structures

__all__ = ["FakeRuntime", "load_fake", "write_fake_model"]

_KIND = "fake"
_STIFFNESS_EV = 0.05
# Some columns of numbers for each.
_MEMORY = MemoryNeed(1000.0, 300.0, 300.0)
_MOVED_E = 0.02
_WATER = ([8, 1, 1], [(0.0, 0.0, 0.0), (0.96, 0.0, 0.0), (-0.24, 0.93, 0.0)])


class FakeRuntime:
    """Evaluates the soft repulsion in numpy and remembers the sizes of its batches.

    ``batches`` holds the number of structures of each batch that was evaluated.
    """

    concurrency = 1

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self.memory = _MEMORY
        self.batches: list[int] = []

    def evaluate(self, structures: Structures) -> ModelOutput:
        """The soft repulsion of all ``structures``."""
        self.batches.append(len(structures.n_atoms))
        return _answer(listed(structures, *self.card.reach), self.card)

    def close(self) -> None:
        """Nothing to give back."""


def load_fake(folder: Path) -> FakeRuntime:
    """Open one version written by ``write_fake_model``.

    Raises:
        ModelRefused: if it is anything else: a toy must not answer in a real model's name.
    """
    card = ModelCard.load(folder)
    if card.architecture.get("kind") != _KIND:
        raise ModelRefused(
            f"{folder} holds a trained model",
            expected="a model written by forcegate_service.runtimes.fake",
            action="start with --runtime embedded",
        )
    return FakeRuntime(card)


def write_fake_model(
    repository: Path,
    name: str = "fake",
    version: str = "1",
    elements: Sequence[int] = (1, 6, 7, 8, 9, 16, 17),
    cutoff: float = 5.0,
    interface: Literal[1, 2] = 1,
) -> ModelCard:
    """Write ``repository/<name>/<version>/`` so that ``--runtime fake`` serves it."""
    folder = repository / name / version
    folder.mkdir(parents=True)
    weights = json.dumps({"kind": _KIND, "name": name, "version": version}).encode()
    (folder / MODEL_NAME).write_bytes(weights)
    card = ModelCard(
        name=name,
        version=version,
        created="1970-01-01T00:00:00Z",
        code_version="0",
        torch_version="none",
        units=UNITS,
        cutoff=cutoff,
        minimum_distance=0.4,
        elements=list(elements),
        n_parameters=0,
        architecture={"kind": _KIND},
        teacher={"name": "none"},
        dataset={},
        training={},
        metrics={},
        # A stand-in for a model that may be asked for anything.
        status={
            "md": "approved",
            "relax": "approved",
            "screening": "approved",
            "periodic": "not_validated",
        },
        reference=_reference(cutoff),
        interface=interface,
        files={MODEL_NAME: "sha256:" + hashlib.sha256(weights).hexdigest()},
    )
    card.save(folder)
    return card


def _reference(cutoff: float) -> Reference:
    numbers, positions = _WATER
    blank = Reference(
        atomic_numbers=numbers,
        positions=positions,
        energy=0.0,
        forces=[(0.0, 0.0, 0.0)] * len(numbers),
        energy_uncertainty=0.0,
    )
    output = _soft_repulsion(build_graph(blank.batch(), cutoff), cutoff)
    answer = {
        "energy": float(output.energy[0]),
        "forces": output.forces.tolist(),
        "energy_uncertainty": float(output.energy_uncertainty[0]),
    }
    return Reference.model_validate(blank.model_dump() | answer)


def _answer(graph: Graph, card: ModelCard) -> ModelOutput:
    output = _soft_repulsion(graph, card.cutoff)
    if not card.charges:
        return output
    center, neighbor = graph.edge_index
    numbers = graph.atomic_numbers
    moved = _MOVED_E * np.sign(numbers[neighbor] - numbers[center])
    charges = np.bincount(center, weights=moved, minlength=len(numbers)).astype(np.float64)
    return output._replace(charges=charges)


def _soft_repulsion(graph: Graph, cutoff: float) -> ModelOutput:
    center, neighbor = graph.edge_index
    vectors = edge_vectors(graph)
    closeness = np.clip(1.0 - np.einsum("ek,ek->e", vectors, vectors) / cutoff**2, 0.0, None)
    charges = graph.atomic_numbers.astype(np.float64)
    weight = 0.5 * _STIFFNESS_EV * np.sqrt(charges[center] * charges[neighbor])
    gradient = (-6.0 / cutoff**2) * (weight * closeness**2)[:, None] * vectors
    structure = graph.structure_index[center]
    n_structures = len(graph.n_atoms)
    forces = np.zeros_like(graph.positions)
    np.add.at(forces, center, gradient)
    np.subtract.at(forces, neighbor, gradient)
    virial = np.zeros((n_structures, 3, 3))
    np.subtract.at(virial, structure, vectors[:, :, None] * gradient[:, None, :])
    crowding = np.bincount(center, weights=closeness, minlength=len(charges))
    energy = np.bincount(structure, weights=weight * closeness**3, minlength=n_structures)
    return ModelOutput(
        energy=energy.astype(np.float64),
        forces=forces,
        virial=0.5 * (virial + virial.transpose(0, 2, 1)),
        energy_uncertainty=1e-3 * np.sqrt(graph.n_atoms),
        atom_novelty=crowding.astype(np.float64),
    )
