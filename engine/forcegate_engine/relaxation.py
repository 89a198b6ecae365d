"""Minima of many structures in this process, all steps within one call."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forcegate_engine.arrays import Batch, Evaluation, Float, Int, address, array, outputs_of
from forcegate_engine.errors import BadArgument
from forcegate_engine.library import Relaxation, call
from forcegate_engine.model import Model

__all__ = ["Minimum", "relax"]


@dataclass(frozen=True)
class Minimum:
    """Where ``B`` structures of ``N`` atoms have come to rest, or run out of steps.

    ``positions`` [N, 3] in Å, never wrapped into a cell; ``steps`` [B] taken, ``converged`` [B],
    and the ``evaluation`` there.
    """

    positions: Float
    steps: Int
    converged: npt.NDArray[np.bool_]
    evaluation: Evaluation


def relax(
    model: Model,
    atomic_numbers: npt.ArrayLike,
    positions: npt.ArrayLike,
    *,
    fmax: float = 0.05,
    max_steps: int = 500,
    fixed: npt.ArrayLike | None = None,
    n_atoms: npt.ArrayLike | None = None,
    cells: npt.ArrayLike | None = None,
    pbc: npt.ArrayLike | None = None,
    threads: int = 0,
) -> Minimum:
    """Move each structure downhill by FIRE (doi:10.1103/PhysRevLett.97.170201), as ASE's does.

    A structure has converged when no atom has a force of ``fmax`` eV/Å or more; ``fixed`` [N] are
    atoms that stay and do not count. Cells stay as they are. The other arrays are as
    ``Model.evaluate`` takes them; each structure goes the way, bit for bit, that it goes alone.

    Raises:
        BadArgument: for a number that no relaxation has.
        UnknownElement, BadStructure, TooLarge, NotFinite: as ``Model.evaluate``, at any step.
    """
    batch = Batch.of(atomic_numbers, positions, n_atoms, cells, pbc, None)
    total, size = len(batch.atomic_numbers), len(batch.n_atoms)
    # What moves is written in place, and the caller's arrays stay what they are.
    places = batch.positions.copy()
    held = None if fixed is None else array("fixed", fixed, np.bool_, (total,))
    if not 0 <= max_steps < 1 << 62:
        raise BadArgument(f"max_steps {max_steps}; expected a whole number from 0 on")
    steps, converged = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.bool_)
    relaxation = Relaxation(
        *(fmax, max_steps, address(held)), *map(address, (places, steps, converged))
    )
    answer = batch.empty_answer(model.interface == 2)
    structures, outputs = batch.structures(), outputs_of(answer)
    call(
        "forcegate_relax",
        *(model.handle, ctypes.byref(structures), ctypes.byref(relaxation)),
        *(ctypes.byref(outputs), threads),
    )
    return Minimum(places, steps, converged, answer)
