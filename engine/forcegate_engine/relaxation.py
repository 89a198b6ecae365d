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

__all__ = ["FIRE", "Minimum", "relax"]

FIRE = np.dtype([("step", "<f8"), ("mixing", "<f8"), ("downhill", "<i4"), ("started", "<i4")])
"""``forcegate_fire``: where the method is with one structure; zeros are its begin."""


@dataclass(frozen=True)
class Minimum:
    """Where ``B`` structures of ``N`` atoms have come to rest, or run out of steps.

    ``positions`` [N, 3] in Å, never wrapped into a cell; ``steps`` [B] taken, ``converged`` [B],
    and the ``evaluation`` there. ``velocities`` [N, 3] and ``fires`` [B] (``FIRE``) are what the
    method goes on with.
    """

    positions: Float
    velocities: Float
    fires: npt.NDArray[np.void]
    steps: Int
    converged: npt.NDArray[np.bool_]
    evaluation: Evaluation


def relax(
    model: Model,
    atomic_numbers: npt.ArrayLike,
    positions: npt.ArrayLike,
    *,
    fmax: npt.ArrayLike = 0.05,
    max_steps: npt.ArrayLike = 500,
    fixed: npt.ArrayLike | None = None,
    forces: npt.ArrayLike | None = None,
    velocities: npt.ArrayLike | None = None,
    fires: npt.NDArray[np.void] | None = None,
    n_atoms: npt.ArrayLike | None = None,
    cells: npt.ArrayLike | None = None,
    pbc: npt.ArrayLike | None = None,
    threads: int = 0,
) -> Minimum:
    """Move each structure downhill by FIRE (doi:10.1103/PhysRevLett.97.170201), as ASE's does.

    A structure has converged when no atom has a force of ``fmax`` eV/Å or more; ``fixed`` [N] are
    atoms that stay and do not count. Cells stay as they are. ``fmax`` and ``max_steps`` are one for
    all structures or one for each [B]. The other arrays are as ``Model.evaluate`` takes them; each
    structure goes the way, bit for bit, that it goes alone.

    With ``velocities`` and ``fires`` of a ``Minimum`` it goes on from there as if it had never
    stopped; with its forces as ``forces`` [N, 3] in eV/Å they are not computed again.

    Raises:
        BadArgument: for a number that no relaxation has.
        UnknownElement, BadStructure, TooLarge, NotFinite: as ``Model.evaluate``, at any step.
    """
    batch = Batch.of(atomic_numbers, positions, n_atoms, cells, pbc, None)
    total, size = len(batch.atomic_numbers), len(batch.n_atoms)
    # What moves is written in place, and the caller's arrays stay what they are.
    places = batch.positions.copy()
    held = None if fixed is None else array("fixed", fixed, np.bool_, (total,))
    known = None if forces is None else array("forces", forces, np.float64, (total, 3))
    if (velocities is None) != (fires is None):
        raise BadArgument("velocities without fires, or the other way; expected both or neither")
    speeds = np.zeros((total, 3))
    states = np.zeros(size, dtype=FIRE)
    if velocities is not None and fires is not None:
        speeds[...] = array("velocities", velocities, np.float64, (total, 3))
        if fires.dtype != FIRE or fires.shape != (size,):
            raise BadArgument(f"fires of shape {fires.shape}; expected [{size}] of a Minimum")
        states[...] = fires
    limits = array("fmax", np.broadcast_to(fmax, size), np.float64, (size,))
    most = np.broadcast_to(np.asarray(max_steps), size)
    if size and not (most.min() >= 0 and most.max() < 1 << 62):
        raise BadArgument(f"max_steps {most.min()}; expected whole numbers from 0 on")
    most = array("max_steps", most, np.int64, (size,))
    steps, converged = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.bool_)
    relaxation = Relaxation(
        *map(address, (limits, most, held, known)),
        *map(address, (places, speeds, states, steps, converged)),
    )
    answer = batch.empty_answer(model.interface == 2)
    structures, outputs = batch.structures(), outputs_of(answer)
    call(
        "forcegate_relax",
        *(model.handle, ctypes.byref(structures), ctypes.byref(relaxation)),
        *(ctypes.byref(outputs), threads),
    )
    return Minimum(places, speeds, states, steps, converged, answer)
