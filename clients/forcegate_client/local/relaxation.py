"""Structures brought to their minima by the engine, all steps of a batch within one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.errors import ForcegateError
from forcegate_client.local.engine import forcegate_errors
from forcegate_client.local.student import Student
from forcegate_client.messages import rows_of
from forcegate_client.relaxation.batched import begin
from forcegate_client.relaxation.elsewhere import Minimum, problems_in, relax_elsewhere
from forcegate_client.relaxation.outcome import Evaluate, Relaxed
from forcegate_client.structures import StructureBatch

__all__ = ["relax_by_engine"]

Bool = npt.NDArray[np.bool_]

# Enough to keep all cores busy; few enough that what is done is kept when somebody stops it.
_ATOMS_AT_ONCE = 2048


def relax_by_engine(
    structures: Sequence[Atoms],
    evaluate: Evaluate,
    student: Student,
    *,
    fmax: float = 0.05,
    max_steps: int = 500,
) -> Iterator[Relaxed]:
    """As ``relax_batched``, along the same paths: ``evaluate`` is asked at their ends alone.

    So what it refuses on the way is not noticed unless the path leads to where it is refused.
    Structures of which single coordinates are held go the way of ``relax_batched``.

    Raises:
        ForcegateError: what ``evaluate`` raised without naming a structure.
    """

    def move(batch: StructureBatch, fixed: Bool) -> Iterator[tuple[int, Minimum]]:
        return _minima(batch, fixed, evaluate, student, fmax, max_steps)

    return relax_elsewhere(
        *(structures, evaluate, move),
        fmax=fmax,
        max_steps=max_steps,
        atoms_at_once=_ATOMS_AT_ONCE,
    )


def _minima(
    batch: StructureBatch,
    fixed: Bool,
    evaluate: Evaluate,
    student: Student,
    fmax: float,
    max_steps: int,
) -> Iterator[tuple[int, Minimum]]:
    """Those of all together; of each alone, where one of them has none."""
    from forcegate_engine import Minimum as Found
    from forcegate_engine import relax

    def found() -> Found:
        with forcegate_errors():
            return relax(
                *(student.model, batch.atomic_numbers, batch.positions),
                fmax=fmax,
                max_steps=max_steps,
                fixed=fixed,
                n_atoms=batch.n_atoms,
                cells=batch.cells,
                pbc=batch.pbc,
                threads=student.threads,
            )

    rows = rows_of(batch.n_atoms.tolist())
    try:
        # In a thread, so that whoever presses Ctrl-C does not wait for all steps.
        there = begin(found).result()
    except ForcegateError as error:
        if error.structure is None:
            raise
        if len(batch) == 1:
            yield 0, Minimum(batch.positions, 0, False, error=error)
            return
        for b, atoms in enumerate(rows):
            alone = _minima(batch.select([b]), fixed[atoms], evaluate, student, fmax, max_steps)
            yield from ((b, minimum) for _, minimum in alone)
        return
    end = evaluate(replace(batch, positions=there.positions))
    places = {b: row for row, b in enumerate(end.index.tolist())}
    forces_of, problems = rows_of(end.n_atoms.tolist()), problems_in(end)
    for b, atoms in enumerate(rows):
        minimum = Minimum(
            there.positions[atoms],
            int(there.steps[b]),
            bool(there.converged[b]),
            error=problems.get(b),
        )
        if b in places:
            assert end.energy is not None
            assert end.forces is not None
            forces = end.forces[forces_of[places[b]]]
            minimum = replace(minimum, energy=float(end.energy[places[b]]), forces=forces)
        yield b, minimum
