"""Answers that are finite numbers and mean nothing: far outside what atoms can do to each other.

A network that is asked about a cell of a few cubic ångström, or about a solid block of chlorine,
answers with 10²⁹ eV as readily as with 10. The card says how much an atom can be bound by, and how
hard it can be pulled; what is beyond is no prediction.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forcegate_client.errors import PredictionImplausible
from forcegate_client.structures import StructureBatch
from forcegate_service.card import Limits
from forcegate_service.graph import Graph, build_graph
from forcegate_service.isolation import evaluate_isolated
from forcegate_service.runtime import LoadedRuntime, ModelOutput

__all__ = ["atomic_energies", "implausible"]

Float = npt.NDArray[np.float64]


def atomic_energies(runtime: LoadedRuntime) -> Float:
    """[Z + 1] in eV: what the model answers for each of its elements alone, 0 for all others.

    NaN where it fails: of structures with such an atom only the forces are judged.
    """
    card = runtime.card
    size = len(card.elements)
    alone = StructureBatch.from_arrays([1] * size, card.elements, np.zeros((size, 3)))
    energies = np.zeros(max(card.elements) + 1)
    output, _ = evaluate_isolated(runtime, build_graph(alone, *card.reach))
    energies[card.elements] = output.energy
    return energies


def implausible(
    output: ModelOutput, graph: Graph, atoms_alone: Float, limits: Limits
) -> dict[int, PredictionImplausible]:
    """The structures of ``graph`` whose answer is outside ``limits``, by their index in it.

    ``atoms_alone`` are the ``atomic_energies``.
    """
    first = graph.n_atoms.cumsum()
    first -= graph.n_atoms
    apart = np.add.reduceat(atoms_alone.take(graph.atomic_numbers), first)
    bound = np.abs(output.energy - apart)
    bound /= graph.n_atoms
    largest = np.maximum.reduce(np.abs(output.forces), axis=None)
    # No force is longer than √3 times its largest component: mostly nothing more is to be done.
    if np.maximum.reduce(bound) <= limits.energy_per_atom and largest <= limits.force / 2.0:
        return {}
    forces = np.maximum.reduceat(np.sqrt((output.forces**2).sum(axis=1)), first)
    return {
        b: _error(float(output.energy[b]), float(bound[b]), float(forces[b]), limits)
        for b in np.flatnonzero((bound > limits.energy_per_atom) | (forces > limits.force)).tolist()
    }


def _error(energy: float, bound: float, force: float, limits: Limits) -> PredictionImplausible:
    if bound > limits.energy_per_atom:
        received = f"an energy of {energy:.3g} eV, {bound:.3g} eV per atom from that of its atoms"
        expected = f"at most {limits.energy_per_atom:g} eV per atom"
    else:
        received = f"a force of {force:.3g} eV/Å on an atom"
        expected = f"at most {limits.force:g} eV/Å"
    return PredictionImplausible(
        f"a structure for which the model answers with {received}",
        expected=f"{expected}, the limit of the model's card",
        action="look at its geometry, its density and its cell: it is unlike everything that the "
        "model was trained on; other structures are not affected",
    )
