"""Answers that are finite numbers and mean nothing: far outside what atoms can do to each other.

A network that is asked about a cell of a few cubic ångström, or about a solid block of chlorine,
answers with 10²⁹ eV as readily as with 10. The card says how much an atom can be bound by, and how
hard it can be pulled; what is beyond is no prediction.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from forcegate_client.errors import PredictionImplausible

__all__ = ["MOST_ENERGY_PER_ATOM", "MOST_FORCE", "Answered", "Atoms", "Bounds", "implausible"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


# Without a word in the card: ten times what structures are learned from. No molecule is bound by
# more than ten eV per atom, and forces above 30 eV/Å are not labelled.
MOST_ENERGY_PER_ATOM, MOST_FORCE = 30.0, 300.0


class Answered(Protocol):
    """What is judged of an answer: ``energy`` [B] in eV, ``forces`` [N, 3] in eV/Å."""

    @property
    def energy(self) -> Float: ...
    @property
    def forces(self) -> Float: ...


class Atoms(Protocol):
    """The structures that were asked about: ``n_atoms`` [B], ``atomic_numbers`` [N]."""

    @property
    def n_atoms(self) -> Int: ...
    @property
    def atomic_numbers(self) -> Int: ...


class Bounds(Protocol):
    """What an answer does not exceed, eV per atom and eV/Å."""

    @property
    def energy_per_atom(self) -> float: ...
    @property
    def force(self) -> float: ...


def implausible(
    output: Answered, atoms: Atoms, atoms_alone: Float, limits: Bounds
) -> dict[int, PredictionImplausible]:
    """The structures of ``atoms`` whose answer is outside ``limits``, by their index in it.

    ``atoms_alone`` [Z + 1] in eV is what the model answers for an atom alone, by atomic number; of
    structures with one for which it is NaN only the forces are judged.
    """
    first = atoms.n_atoms.cumsum()
    first -= atoms.n_atoms
    apart = np.add.reduceat(atoms_alone.take(atoms.atomic_numbers), first)
    bound = np.abs(output.energy - apart)
    bound /= atoms.n_atoms
    largest = np.maximum.reduce(np.abs(output.forces), axis=None)
    # No force is longer than √3 times its largest component: mostly nothing more is to be done.
    if np.maximum.reduce(bound) <= limits.energy_per_atom and largest <= limits.force / 2.0:
        return {}
    forces = np.maximum.reduceat(np.sqrt((output.forces**2).sum(axis=1)), first)
    return {
        b: _error(float(output.energy[b]), float(bound[b]), float(forces[b]), limits)
        for b in np.flatnonzero((bound > limits.energy_per_atom) | (forces > limits.force)).tolist()
    }


def _error(energy: float, bound: float, force: float, limits: Bounds) -> PredictionImplausible:
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
