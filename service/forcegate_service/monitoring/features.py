"""The watched features of structures that were evaluated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import segments
from forcegate_service.graph import Graph
from forcegate_service.monitoring.histograms import Features
from forcegate_service.runtime import ModelOutput

__all__ = ["evenly", "features_of", "features_of_some"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]


def features_of(graph: Graph, output: ModelOutput) -> Features:
    """Those of all structures and atoms of ``graph``; ``output`` is the model's answer."""
    counts = graph.n_atoms
    return Features(
        elements=graph.atomic_numbers,
        atoms=counts,
        nearest_neighbour=_nearest(graph, np.arange(len(graph.atomic_numbers))),
        energy_uncertainty=output.energy_uncertainty / counts,
        max_novelty=_largest(output.atom_novelty, counts),
    )


def features_of_some(
    graph: Graph, output: ModelOutput, structures: Int, most_atoms: int
) -> Features:
    """Those of ``structures`` [K], at least one, and of so many of their atoms, evenly taken."""
    counts = graph.n_atoms[structures]
    first = np.cumsum(graph.n_atoms) - graph.n_atoms
    members = segments(first[structures], counts)
    atoms = members[evenly(len(members), most_atoms)]
    return Features(
        elements=graph.atomic_numbers[atoms],
        atoms=counts,
        nearest_neighbour=_nearest(graph, atoms),
        energy_uncertainty=output.energy_uncertainty[structures] / counts,
        max_novelty=_largest(output.atom_novelty[members], counts),
    )


def evenly(size: int, most: int) -> Int:
    """At most ``most`` of the indices below ``size``, as far apart from each other as can be."""
    return np.arange(size) if size <= most else np.arange(most) * size // most


def _largest(values: Float, counts: Int) -> Float:
    """The maximum of each run of ``values``; no run is empty."""
    largest: Float = np.maximum.reduceat(values, np.cumsum(counts) - counts)
    return largest


def _nearest(graph: Graph, atoms: Int) -> Float:
    """[n] in Å; the shortest edge of each of ``atoms`` [n], ascending, infinite without any."""
    center, neighbor = graph.edge_index
    # Edges are sorted by center: those of an atom are one run, and nobody else's are looked at.
    bounds = np.searchsorted(center, np.stack([atoms, atoms + 1]))
    lengths = bounds[1] - bounds[0]
    everything = len(atoms) == len(graph.atomic_numbers)
    edges = slice(None) if everything else segments(bounds[0], lengths)
    vectors: Float = graph.positions.take(neighbor[edges], axis=0)
    vectors -= np.repeat(graph.positions.take(atoms, axis=0), lengths, axis=0)
    vectors += graph.edge_shift[edges]
    vectors *= vectors
    squared = vectors[:, 0] + vectors[:, 1]
    squared += vectors[:, 2]
    nearest = np.full(len(atoms), np.inf)
    some = np.flatnonzero(lengths)
    if len(some):
        starts = np.cumsum(lengths) - lengths
        nearest[some] = np.sqrt(np.minimum.reduceat(squared, starts[some]))
    return nearest
