"""Periodic images: regular cells, wrapped atoms, and the copies that a cutoff reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "Copies",
    "complete_cell",
    "copies_within",
    "grid",
    "inverse_heights",
    "lattice_vectors",
    "wrap",
]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

# In fractions of the cell; wider than any rounding, so that no copy is lost to it.
_MARGIN = 1e-9


@dataclass(frozen=True)
class Copies:
    """``M`` copies of the atoms of one cell, sorted by atom, then image.

    ``positions`` [M, 3] and ``shift`` [M, 3] in Å, ``atom`` [M]: of which each is a copy,
    ``self_copy`` [N]: the copy that is the atom itself.
    """

    positions: Float
    shift: Float
    atom: Int
    self_copy: Int


def complete_cell(cell: Float, pbc: Bool, positions: Float, cutoff: float) -> Float:
    """Replace vectors along open axes by orthogonal ones that are longer than the structure.

    Open axes carry no images, so their vectors only have to make the matrix regular.
    """
    if pbc.all():
        return cell
    periodic = cell[pbc]
    extent = float(np.ptp(positions, axis=0).sum()) + 2.0 * cutoff
    # Rows of V beyond the rank span the complement of the periodic vectors.
    _, _, basis = np.linalg.svd(periodic.reshape(-1, 3))
    complete = cell.copy()
    complete[~pbc] = basis[len(periodic) :] * extent
    return complete


def inverse_heights(inverse: Float) -> Float:
    """[3] in 1/Å; the columns of an inverse cell are as long as its faces are close."""
    heights: Float = np.sqrt((inverse * inverse).sum(axis=0))
    return heights


def wrap(positions: Float, cell: Float, inverse: Float, pbc: Bool) -> tuple[Float, Float]:
    """Positions [N, 3] moved into the cell along periodic axes, and by how much [N, 3]; in Å."""
    home = np.where(pbc, np.floor(positions @ inverse), 0.0)
    away = lattice_vectors(home, cell)
    return positions - away, away


def copies_within(wrapped: Float, cell: Float, inverse: Float, pbc: Bool, cutoff: float) -> Copies:
    """All copies of ``wrapped`` [N, 3] (Å) as near as ``cutoff`` Å to the box around them."""
    margin = cutoff * inverse_heights(inverse) + _MARGIN
    counts = np.where(pbc, np.ceil(margin), 0.0)
    images = grid(counts)
    near = np.ones((len(wrapped), len(images)), dtype=np.bool_)
    for along, steps, slack in zip((wrapped @ inverse).T, images.T, margin, strict=True):
        copied = along[:, None] + steps
        near &= (copied > along.min() - slack) & (copied < along.max() + slack)
    atom, image = near.nonzero()
    shift = lattice_vectors(images, cell).take(image, axis=0)
    # The grid of images is symmetric, so the cell itself is in the middle.
    self_copy = np.flatnonzero(image == len(images) // 2)
    return Copies(wrapped.take(atom, axis=0) + shift, shift, atom, self_copy)


def grid(counts: npt.NDArray[np.generic]) -> Float:
    """[K, 3]; all images of up to ``counts`` [3] cells in both directions, in rising order."""
    span = counts.astype(np.int64)
    images = np.indices(tuple((2 * span + 1).tolist())).reshape(3, -1).T - span
    return images.astype(np.float64)


def lattice_vectors(images: Float, cell: Float) -> Float:
    """[K, 3] in Å; ``images`` [K, 3], whole numbers, times the vectors of ``cell``.

    Written out, because matrix products may round an image and its opposite differently.
    """
    vectors: Float = images[:, :1] * cell[0] + images[:, 1:2] * cell[1] + images[:, 2:] * cell[2]
    return vectors
