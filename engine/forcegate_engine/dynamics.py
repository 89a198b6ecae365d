"""Molecular dynamics in this process: many structures, all steps within one call."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forcegate_engine.arrays import Batch, Evaluation, Float, address, array, outputs_of
from forcegate_engine.errors import BadArgument
from forcegate_engine.library import Answers, Dynamics, Structures, call
from forcegate_engine.library import Motion as MotionArrays
from forcegate_engine.model import Model

__all__ = ["Motion", "integrate"]

# ``forcegate_ensemble``: what each structure has of its own.
_ENSEMBLE = np.dtype(
    [
        *(("start_step", "<i8"), ("timestep", "<f8"), ("friction", "<f8"), ("temperature", "<f8")),
        *(("seed", "<u8"), ("stream", "<u4"), ("reserved", "<u4")),
    ]
)
_MOST = 1 << 62


@dataclass(frozen=True)
class Motion:
    """Where ``N`` atoms are after some steps: ``positions`` [N, 3] in Å, never wrapped into a cell,
    ``velocities`` [N, 3] in Å/fs, ``step`` of the next one (of structures that began at different
    steps, the last), and the ``evaluation`` there.
    """

    positions: Float
    velocities: Float
    step: int
    evaluation: Evaluation


def integrate(
    model: Model,
    atomic_numbers: npt.ArrayLike,
    positions: npt.ArrayLike,
    velocities: npt.ArrayLike,
    masses: npt.ArrayLike,
    *,
    steps: int,
    timestep_fs: npt.ArrayLike,
    temperature_k: npt.ArrayLike = 0.0,
    friction_per_fs: npt.ArrayLike = 0.0,
    seed: npt.ArrayLike = 0,
    start_step: npt.ArrayLike = 0,
    forces: npt.ArrayLike | None = None,
    streams: npt.ArrayLike | None = None,
    fixed: npt.ArrayLike | None = None,
    n_atoms: npt.ArrayLike | None = None,
    cells: npt.ArrayLike | None = None,
    pbc: npt.ArrayLike | None = None,
    threads: int = 0,
) -> Motion:
    """Move all structures by ``steps``: velocity Verlet, or Langevin dynamics with a friction.

    ``velocities`` [N, 3] in Å/fs, ``masses`` [N] in u, ``fixed`` [N] atoms that stay; the other
    arrays as ``Model.evaluate`` takes them. Timestep, temperature, friction, seed and start step
    are one for all structures or one for each [B].

    Langevin dynamics is BAOAB (doi:10.1063/1.4802990); its noise is a function of ``seed``, the
    step, the atom and the structure's number in ``streams`` [B] (its index by default). So a run
    that goes on from a ``Motion`` with its ``step`` as ``start_step`` is, bit for bit, the one that
    was not interrupted, in any company and on any number of threads. With its forces as ``forces``
    [N, 3] in eV/Å, those at ``positions``, they are not computed again. Nothing removes what moves
    the centre of mass.

    Raises:
        BadArgument: for a number that no simulation has.
        UnknownElement, BadStructure, TooLarge, NotFinite: as ``Model.evaluate``, at any step.
    """
    batch = Batch.of(atomic_numbers, positions, n_atoms, cells, pbc, None)
    total, size = len(batch.atomic_numbers), len(batch.n_atoms)
    # What moves is written in place, and the caller's arrays stay what they are.
    places = batch.positions.copy()
    speeds = array("velocities", velocities, np.float64, (total, 3)).copy()
    weights = array("masses", masses, np.float64, (total,))
    known = None if forces is None else array("forces", forces, np.float64, (total, 3))
    noise = None if streams is None else array("streams", streams, np.uint32, (size,))
    held = None if fixed is None else array("fixed", fixed, np.bool_, (total,))
    if not 0 <= steps < _MOST:
        raise BadArgument(f"steps {steps}; expected a whole number from 0 on")
    each = np.zeros(size, dtype=_ENSEMBLE)
    each["stream"] = np.arange(size) if noise is None else noise
    for name, value in (("start_step", start_step), ("seed", seed)):
        each[name] = _whole(name, value, size)
    for name, value in (
        *(("timestep", timestep_fs), ("friction", friction_per_fs)),
        ("temperature", temperature_k),
    ):
        each[name] = array(name, np.broadcast_to(value, size), np.float64, (size,))
    dynamics = Dynamics(steps, *map(address, (each, weights, held)))
    answer = batch.empty_answer(model.interface == 2)
    structures: Structures = batch.structures()
    outputs: Answers = outputs_of(answer)
    motion = MotionArrays(address(places), address(speeds), address(known), 0)
    call(
        "forcegate_integrate",
        *(model.handle, ctypes.byref(structures), ctypes.byref(dynamics)),
        *(ctypes.byref(motion), ctypes.byref(outputs), threads),
    )
    ends = each["start_step"] + steps
    return Motion(places, speeds, int(ends.max(initial=0)), answer)


def _whole(name: str, values: npt.ArrayLike, size: int) -> npt.NDArray[np.int64]:
    """[B] numbers from 0 on."""
    for value in np.ravel(np.asarray(values, dtype=object)):
        if not 0 <= value < _MOST:
            raise BadArgument(f"{name} {value}; expected a whole number from 0 on")
    return array(name, np.broadcast_to(np.asarray(values), size), np.int64, (size,))
