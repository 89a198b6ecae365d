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


@dataclass(frozen=True)
class Motion:
    """Where ``N`` atoms are after some steps: ``positions`` [N, 3] in Å, never wrapped into a cell,
    ``velocities`` [N, 3] in Å/fs, ``step`` of the next one, and the ``evaluation`` there.
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
    timestep_fs: float,
    temperature_k: float = 0.0,
    friction_per_fs: float = 0.0,
    seed: int = 0,
    start_step: int = 0,
    forces: npt.ArrayLike | None = None,
    streams: npt.ArrayLike | None = None,
    n_atoms: npt.ArrayLike | None = None,
    cells: npt.ArrayLike | None = None,
    pbc: npt.ArrayLike | None = None,
    threads: int = 0,
) -> Motion:
    """Move all structures by ``steps``: velocity Verlet, or Langevin dynamics with a friction.

    ``velocities`` [N, 3] in Å/fs, ``masses`` [N] in u; the other arrays as ``Model.evaluate`` takes
    them. Langevin dynamics is BAOAB (doi:10.1063/1.4802990); its noise is a function of ``seed``,
    the step, the atom and the structure's number in ``streams`` [B] (its index by default). So a
    run that goes on from a ``Motion`` with its ``step`` as ``start_step`` is, bit for bit, the one
    that was not interrupted, in any company and on any number of threads. With its forces as
    ``forces`` [N, 3] in eV/Å, those at ``positions``, they are not computed again. Nothing removes
    what moves the centre of mass.

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
    for name, value in (("steps", steps), ("start_step", start_step), ("seed", seed)):
        if not 0 <= value < 1 << 62:
            raise BadArgument(f"{name} {value}; expected a whole number from 0 on")
    dynamics = Dynamics(
        *(steps, start_step, timestep_fs, friction_per_fs, temperature_k, seed),
        *(address(noise), address(weights)),
    )
    answer = batch.empty_answer(model.interface == 2)
    structures: Structures = batch.structures()
    outputs: Answers = outputs_of(answer)
    motion = MotionArrays(address(places), address(speeds), address(known), 0)
    call(
        "forcegate_integrate",
        *(model.handle, ctypes.byref(structures), ctypes.byref(dynamics)),
        *(ctypes.byref(motion), ctypes.byref(outputs), threads),
    )
    return Motion(places, speeds, start_step + steps, answer)
