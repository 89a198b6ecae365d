"""Who is in a dataset: elements, sizes and molecules, as arrays over its frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forcegate_client.dataset import Dataset

__all__ = ["Composition", "composition_of", "is_pair"]

Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

HYDROGEN = 1


@dataclass(frozen=True, eq=False)
class Composition:
    """``F`` frames of ``M`` molecules, made of ``E`` elements.

    ``elements`` [E] are atomic numbers, ascending; ``counts`` [F, E] atoms of each element in each
    frame. ``rows`` [M] are the rows of the molecule table that have frames, ``first`` [M] a frame
    of each, and ``pairs`` [M] tells which of them are two molecules side by side.
    """

    elements: Int
    counts: Int
    rows: Int
    first: Int
    pairs: Bool

    @property
    def heavy_atoms(self) -> Int:
        """[M]: atoms other than hydrogen in each molecule or pair."""
        counts = self.counts[self.first]
        return np.asarray(counts[:, self.elements != HYDROGEN].sum(axis=1), dtype=np.int64)

    @property
    def elements_of_molecules(self) -> Bool:
        """[M, E]: whether a molecule or pair contains an element."""
        return np.asarray(self.counts[self.first] > 0)


def composition_of(dataset: Dataset) -> Composition:
    """The composition of all frames."""
    elements, kind = np.unique(dataset.atomic_numbers, return_inverse=True)
    frames = len(dataset)
    frame = np.repeat(np.arange(frames), dataset.n_atoms)
    counts = np.bincount(frame * len(elements) + kind, minlength=frames * len(elements))
    rows, first = np.unique(dataset.molecule_id, return_index=True)
    return Composition(
        elements=elements.astype(np.int64),
        counts=counts.reshape(frames, len(elements)).astype(np.int64),
        rows=rows.astype(np.int64),
        first=first.astype(np.int64),
        pairs=np.array([is_pair(dataset.molecules.smiles[row]) for row in rows], dtype=np.bool_),
    )


def is_pair(smiles: str) -> bool:
    """Whether a row of the molecule table is a dimer: its monomers' SMILES joined by a dot."""
    return "." in smiles
