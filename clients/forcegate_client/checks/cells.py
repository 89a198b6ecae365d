"""What a cell must be like before neighbours are searched in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from forcegate_client.errors import InvalidStructure
from forcegate_client.structures import StructureBatch

__all__ = ["check_cells"]

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

# Determinant of the Gram matrix of the normalised periodic vectors; 1 for orthogonal ones.
_SINGULAR = 1e-8
# Copies of a cell that reach into the cutoff. A primitive cell of diamond has 343; far beyond that
# a cell is all but flat and would cost minutes.
_MAX_IMAGES = 20_000


def check_cells(
    batch: StructureBatch, cutoff: float, minimum_distance: float
) -> Iterator[InvalidStructure]:
    """The structures whose cells cannot be used, each with its reason.

    ``cutoff`` and ``minimum_distance`` in Å. Cells must be finite.
    """
    periodic = np.flatnonzero(batch.pbc.any(axis=1))
    if not len(periodic):
        return
    cells, pbc = batch.cells[periodic], batch.pbc[periodic]
    lengths = np.linalg.norm(cells, axis=2)
    missing = (pbc & (lengths == 0.0)).any(axis=1)
    short = (pbc & (lengths < minimum_distance)).any(axis=1) & ~missing
    sine_squared = _gram_determinant(cells, lengths, pbc)
    singular = (sine_squared < _SINGULAR) & ~missing & ~short
    yield from _reject(periodic[missing], "cell_missing", lambda b: _missing(batch, b))
    yield from _reject(periodic[short], "atoms_too_close", lambda b: _short(batch, b))
    yield from _reject(periodic[singular], "cell_singular", lambda b: _singular(batch, b))
    good = ~(missing | short | singular)
    images = _images(cells[good], pbc[good], cutoff)
    yield from _reject(
        periodic[good][images > _MAX_IMAGES], "cell_singular", lambda b: _flat(batch, b)
    )


def _gram_determinant(cells: Float, lengths: Float, pbc: Bool) -> Float:
    unit = cells / np.where(lengths > 0.0, lengths, 1.0)[:, :, None]
    # Axes that are not periodic count as orthogonal to everything.
    unit = np.where(pbc[:, :, None], unit, 0.0)
    gram = unit @ unit.transpose(0, 2, 1) + np.where(pbc, 0.0, 1.0)[:, :, None] * np.eye(3)
    determinant: Float = np.linalg.det(gram)
    return determinant


def _images(cells: Float, pbc: Bool, cutoff: float) -> Float:
    """[B]; how many copies of the cell, itself included, lie within the cutoff."""
    gram = cells @ cells.transpose(0, 2, 1)
    both = pbc[:, :, None] & pbc[:, None, :]
    gram = np.where(both, gram, 0.0) + np.where(pbc, 0.0, 1.0)[:, :, None] * np.eye(3)
    # The diagonal of the inverse Gram matrix holds the squared lengths of the dual vectors, whose
    # reciprocals are the distances between the faces of the cell.
    inverse_height = np.sqrt(np.linalg.inv(gram).diagonal(axis1=1, axis2=2))
    reach = np.where(pbc, np.ceil(cutoff * inverse_height), 0.0)
    images: Float = (2.0 * reach + 1.0).prod(axis=1)
    return images


def _reject(
    indices: npt.NDArray[np.int64], code: str, describe: Callable[[int], tuple[str, str, str]]
) -> Iterator[InvalidStructure]:
    for index in indices.tolist():
        received, expected, action = describe(index)
        yield InvalidStructure(
            received, expected=expected, action=action, code=code, structure=index
        )


def _pbc(batch: StructureBatch, index: int) -> str:
    return f"pbc {batch.pbc[index].tolist()}"


def _missing(batch: StructureBatch, index: int) -> tuple[str, str, str]:
    return (
        f"{_pbc(batch, index)} with cell {batch.cells[index].tolist()}",
        "a lattice vector along every periodic axis",
        "give the cell, or set pbc to false for a molecule",
    )


def _short(batch: StructureBatch, index: int) -> tuple[str, str, str]:
    length = np.linalg.norm(batch.cells[index][batch.pbc[index]], axis=1).min()
    return (
        f"a lattice vector of {length:.3g} Å, so that atoms sit on their own periodic images",
        "lattice vectors in Å",
        "check the unit of the cell",
    )


def _singular(batch: StructureBatch, index: int) -> tuple[str, str, str]:
    return (
        f"{_pbc(batch, index)} with the singular cell {batch.cells[index].tolist()}",
        "linearly independent lattice vectors along the periodic axes",
        "correct the cell",
    )


def _flat(batch: StructureBatch, index: int) -> tuple[str, str, str]:
    return (
        f"the all but flat cell {batch.cells[index].tolist()}",
        f"at most {_MAX_IMAGES} copies of the cell within the cutoff",
        "reduce the cell (ase.geometry.niggli_reduce_cell) or correct it",
    )
