"""What makes sense of a student, from the frames that it learned from."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

from forcegate_client.checks.contacts import ShortestDistances
from forcegate_client.dataset import Dataset
from forcegate_service.contract.card import Limits
from forcegate_service.contract.graph import build_graph, edge_vectors
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.progress import Tell, tell_nobody

__all__ = ["limits_of"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

# How far beyond what was learned an answer may lie. No chemistry binds an atom by three times as
# much; what pushes atoms apart grows faster.
_ENERGY_FACTOR = 3.0
_FORCE_FACTOR = 10.0
# Å; no pair that is refused for its distance is further apart.
_REACH = 2.5
_BATCH = 1000


def limits_of(
    dataset: Dataset, atoms_alone: Float, minimum_distance: float, tell: Tell = tell_nobody
) -> Limits:
    """The limits of a version that was trained on the training split of ``dataset``.

    ``atoms_alone`` [Z + 1] in eV are the student's energies of single atoms, ``minimum_distance``
    (Å) is the card's. Pairs of elements get a distance of their own where the frames have them
    closer than covalent radii allow for.
    """
    learned = dataset.select(dataset.frame_indices("train"))
    assert learned.energies is not None  # fitting refuses unlabelled datasets
    assert learned.forces is not None
    structures = structures_of(learned)
    first = np.cumsum(structures.n_atoms) - structures.n_atoms
    apart = np.add.reduceat(atoms_alone[structures.atomic_numbers], first)
    bound = np.abs(learned.energies - apart) / structures.n_atoms
    elements = np.unique(structures.atomic_numbers).tolist()
    usual = ShortestDistances(elements, minimum_distance, {})
    closest: dict[tuple[int, int], float] = {}
    for start in range(0, len(learned), _BATCH):
        stop = min(start + _BATCH, len(learned))
        graph = build_graph(structures.select(np.arange(start, stop)), _REACH)
        vectors = edge_vectors(graph)
        numbers = np.sort(graph.atomic_numbers[graph.edge_index], axis=0)
        _keep_smaller(closest, numbers, np.sqrt((vectors**2).sum(axis=1)))
        tell("looking for the shortest distances", stop, len(learned))
    return Limits(
        energy_per_atom=_rounded_up(_ENERGY_FACTOR * float(bound.max())),
        force=_rounded_up(_FORCE_FACTOR * float(np.linalg.norm(learned.forces, axis=1).max())),
        minimum_distances={
            "-".join(chemical_symbols[number] for number in pair): math.floor(100 * distance) / 100
            for pair, distance in sorted(closest.items())
            if distance < usual.between(*pair)
        },
    )


def _keep_smaller(closest: dict[tuple[int, int], float], numbers: Int, distances: Float) -> None:
    """``numbers`` [2, E], the smaller one first, and their ``distances`` [E] in Å."""
    codes = 1000 * numbers[0] + numbers[1]
    for code in np.unique(codes).tolist():
        pair = divmod(code, 1000)
        distance = float(distances[codes == code].min())
        closest[pair] = min(distance, closest.get(pair, math.inf))


def _rounded_up(value: float) -> float:
    """To two digits, so that a card says no more than is meant."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / step) * step, 6)
