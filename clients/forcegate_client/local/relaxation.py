"""Structures brought to their minima by the engine, all steps of a batch within one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.errors import ForcegateError, error_from_problem
from forcegate_client.local.engine import forcegate_errors
from forcegate_client.local.student import Student
from forcegate_client.messages import Predictions, rows_of
from forcegate_client.relaxation.batched import begin, relax_batched
from forcegate_client.relaxation.entrance import admitted
from forcegate_client.relaxation.outcome import Evaluate, Relaxed, failed
from forcegate_client.results import with_results
from forcegate_client.structures import StructureBatch

if TYPE_CHECKING:
    from forcegate_engine import Minimum

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
    others: list[int] = []
    batch: list[tuple[int, Atoms, Bool]] = []
    for index, atoms in enumerate(structures):
        try:
            held = admitted(atoms)
        except ForcegateError as error:
            yield failed(index, atoms, None, 0, error)
            continue
        if (held.any(axis=1) != held.all(axis=1)).any():
            others.append(index)
            continue
        whole: Bool = np.asarray(held.all(axis=1))
        batch.append((index, atoms, whole))
        if sum(len(one) for _, one, _ in batch) >= _ATOMS_AT_ONCE:
            yield from _relaxed(batch, evaluate, student, fmax, max_steps)
            batch = []
    yield from _relaxed(batch, evaluate, student, fmax, max_steps)
    chosen = [structures[index] for index in others]
    for one in relax_batched(chosen, evaluate, fmax=fmax, max_steps=max_steps):
        index = others[one.index]
        problem = None if one.problem is None else one.problem | {"structure": index}
        yield replace(one, index=index, problem=problem)


def _relaxed(
    given: list[tuple[int, Atoms, Bool]],
    evaluate: Evaluate,
    student: Student,
    fmax: float,
    max_steps: int,
) -> Iterator[Relaxed]:
    if not given:
        return
    batch = StructureBatch.from_atoms([atoms for _, atoms, _ in given])
    found = evaluate(batch)
    for b, error in _problems(found).items():
        yield failed(*given[b][:2], None, 0, error)
    energies = [] if found.energy is None else found.energy.tolist()
    start: dict[int, float] = dict(zip(found.index.tolist(), energies, strict=True))
    going = [b for b in range(len(given)) if b in start]
    for part in _moved(batch, [held for _, _, held in given], going, student, fmax, max_steps):
        chosen, minimum = part
        if isinstance(minimum, ForcegateError):
            (b,) = chosen
            yield failed(*given[b][:2], start[b], 0, minimum)
            continue
        there = replace(batch.select(chosen), positions=minimum.positions)
        end = evaluate(there)
        rows = {place: row for row, place in enumerate(end.index.tolist())}
        slices, atoms_of = rows_of(end.n_atoms.tolist()), rows_of(there.n_atoms.tolist())
        problems = _problems(end)
        for place, b in enumerate(chosen):
            index, atoms, held = given[b]
            moved = atoms.copy()
            moved.arrays["positions"][:] = minimum.positions[atoms_of[place]]
            steps = int(minimum.steps[place])
            if place in problems:
                yield failed(index, moved, start[b], steps, problems[place])
                continue
            assert end.energy is not None
            assert end.forces is not None
            forces = end.forces[slices[rows[place]]]
            energy = float(end.energy[rows[place]])
            yield Relaxed(
                index=index,
                atoms=with_results(moved, energy, forces),
                start_energy=start[b],
                energy=energy,
                max_force=float(np.linalg.norm(forces[~held], axis=1).max(initial=0.0)),
                steps=steps,
                converged=bool(minimum.converged[place]),
            )


def _moved(
    batch: StructureBatch,
    held: list[Bool],
    chosen: list[int],
    student: Student,
    fmax: float,
    max_steps: int,
) -> Iterator[tuple[list[int], Minimum | ForcegateError]]:
    """The minima of ``chosen``, together; alone, where one of them has none."""
    if not chosen:
        return
    part = batch.select(chosen)

    def relax() -> Minimum:
        from forcegate_engine import relax as move

        with forcegate_errors():
            return move(
                *(student.model, part.atomic_numbers, part.positions),
                fmax=fmax,
                max_steps=max_steps,
                fixed=np.concatenate([held[b] for b in chosen]),
                n_atoms=part.n_atoms,
                cells=part.cells,
                pbc=part.pbc,
                threads=student.threads,
            )

    try:
        # In a thread, so that whoever presses Ctrl-C does not wait for all steps.
        yield chosen, begin(relax).result()
        return
    except ForcegateError as error:
        if error.structure is None:
            raise
        if len(chosen) == 1:
            yield chosen, error
            return
    for b in chosen:
        yield from _moved(batch, held, [b], student, fmax, max_steps)


def _problems(found: Predictions) -> dict[int, ForcegateError]:
    return {b: error_from_problem(told, 422) for b, told in found.problems.items()}
