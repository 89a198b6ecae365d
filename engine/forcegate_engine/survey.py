"""How close the atoms of structures are, and how much there will be to compute: without a model."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forcegate_engine.arrays import Batch, Float, Int, address, array
from forcegate_engine.errors import BadArgument
from forcegate_engine.library import Survey as SurveyArrays
from forcegate_engine.library import call

__all__ = ["Survey", "survey"]


@dataclass(frozen=True)
class Survey:
    """Of ``B`` structures with ``N`` atoms in all, periodic images included.

    ``edges`` [B]: ordered pairs of atoms within the cutoff; ``pairs`` [B]: pairs of atoms, each
    once, that end at the pair cutoff where a structure is periodic; ``nearest`` [N] in Å: of each
    atom its nearest neighbor, infinite without any. Two atoms of each structure are closest for
    their elements: ``closeness`` [B] is their distance over the shortest one of such a pair,
    infinite without any, ``distance`` [B] in Å, ``closest`` [B, 2] which atoms they are.
    ``isolation`` [N] is that ratio for each atom and the neighbor that is closest for its elements.
    """

    edges: Int
    pairs: Int
    nearest: Float
    closeness: Float
    distance: Float
    closest: Int
    isolation: Float


def survey(
    atomic_numbers: npt.ArrayLike,
    positions: npt.ArrayLike,
    *,
    cutoff: float,
    shortest: npt.ArrayLike,
    pair_cutoff: float = 0.0,
    n_atoms: npt.ArrayLike | None = None,
    cells: npt.ArrayLike | None = None,
    pbc: npt.ArrayLike | None = None,
) -> Survey:
    """Look at structures as ``Model.evaluate`` takes them.

    ``cutoff`` in Å; ``shortest`` [Z, Z] in Å, how close atoms of two elements may be, by atomic
    number; with a ``pair_cutoff`` of 0 Å no pairs are counted.

    Raises:
        BadArgument: if shapes contradict each other, or a distance is none.
        UnknownElement, BadStructure, TooLarge: for a structure that cannot be looked at;
            ``structure`` is its index.
    """
    batch = Batch.of(atomic_numbers, positions, n_atoms, cells, pbc, None)
    table = array("shortest", shortest, np.float64, (None, None))
    if len(set(table.shape)) != 1:
        raise BadArgument(f"shortest of shape {table.shape}; expected [Z, Z]")
    size, total = len(batch.n_atoms), len(batch.atomic_numbers)
    found = Survey(
        edges=np.empty(size, dtype=np.int64),
        pairs=np.empty(size, dtype=np.int64),
        nearest=np.empty(total),
        closeness=np.empty(size),
        distance=np.empty(size),
        closest=np.empty((size, 2), dtype=np.int64),
        isolation=np.empty(total),
    )
    asked = SurveyArrays(
        *(cutoff, pair_cutoff, len(table), address(table)),
        *map(address, (found.edges, found.pairs, found.nearest)),
        *map(address, (found.closeness, found.distance, found.closest, found.isolation)),
    )
    structures = batch.structures()
    call("forcegate_survey", ctypes.byref(structures), ctypes.byref(asked))
    return found
