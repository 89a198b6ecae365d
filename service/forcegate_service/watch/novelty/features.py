"""The watched features of structures that were evaluated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import segments
from forcegate_service.contract.histograms import Features
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.structures import Structures

__all__ = ["evenly", "features_of", "features_of_some"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]


def features_of(structures: Structures, output: ModelOutput) -> Features:
    """Those of all structures and atoms; ``output`` is the model's answer."""
    counts = structures.n_atoms
    return Features(
        elements=structures.atomic_numbers,
        atoms=counts,
        nearest_neighbour=structures.nearest(),
        energy_uncertainty=output.energy_uncertainty / counts,
        max_novelty=_largest(output.atom_novelty, counts),
    )


def features_of_some(
    structures: Structures, output: ModelOutput, chosen: Int, most_atoms: int
) -> Features:
    """Those of ``chosen`` [K], at least one, and of so many of their atoms, evenly taken."""
    counts = structures.n_atoms[chosen]
    first = np.cumsum(structures.n_atoms) - structures.n_atoms
    members = segments(first[chosen], counts)
    atoms = members[evenly(len(members), most_atoms)]
    return Features(
        elements=structures.atomic_numbers[atoms],
        atoms=counts,
        nearest_neighbour=structures.nearest()[atoms],
        energy_uncertainty=output.energy_uncertainty[chosen] / counts,
        max_novelty=_largest(output.atom_novelty[members], counts),
    )


def evenly(size: int, most: int) -> Int:
    """At most ``most`` of the indices below ``size``, as far apart from each other as can be."""
    return np.arange(size) if size <= most else np.arange(most) * size // most


def _largest(values: Float, counts: Int) -> Float:
    """The maximum of each run of ``values``; no run is empty."""
    largest: Float = np.maximum.reduceat(values, np.cumsum(counts) - counts)
    return largest
