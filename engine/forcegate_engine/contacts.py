"""Which two atoms of a structure are closest for their elements, images included."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forcegate_engine.arrays import Batch, Float, Int, address, array
from forcegate_engine.errors import BadArgument
from forcegate_engine.library import call

__all__ = ["Closest", "closest_pairs"]


@dataclass(frozen=True)
class Closest:
    """Of ``B`` structures the pair of atoms that is closest for its elements.

    ``pairs`` [B, 2] are indices of atoms within their structure, -1 where none is near; they are
    equal where an atom meets its own image. ``distances`` [B] in Å, 0 where there is no pair.
    """

    pairs: Int
    distances: Float


def closest_pairs(
    atomic_numbers: npt.ArrayLike,
    positions: npt.ArrayLike,
    near: npt.ArrayLike,
    *,
    n_atoms: npt.ArrayLike | None = None,
    cells: npt.ArrayLike | None = None,
    pbc: npt.ArrayLike | None = None,
) -> Closest:
    """Look for pairs that are nearer than ``near`` [Z, Z], by their atomic numbers, in Å.

    Closest is the pair whose distance is the smallest part of what is near for its elements; of
    pairs within half of that, any one. The other arrays are as ``Model.evaluate`` takes them; no
    model is asked.

    Raises:
        BadArgument, UnknownElement, BadStructure, TooLarge: as ``Model.evaluate``.
    """
    batch = Batch.of(atomic_numbers, positions, n_atoms, cells, pbc, None)
    table = array("near", near, np.float64, (None, None))
    if table.shape[0] != table.shape[1]:
        raise BadArgument(f"near of shape {table.shape}; expected as many rows as columns")
    size = len(batch.n_atoms)
    found = Closest(np.empty((size, 2), dtype=np.int64), np.empty(size))
    structures = batch.structures()
    call(
        "forcegate_closest",
        *(ctypes.byref(structures), address(table), len(table)),
        *(address(found.pairs), address(found.distances)),
    )
    return found
