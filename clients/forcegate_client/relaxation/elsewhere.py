"""Structures whose whole way to their minima is gone elsewhere: by the engine, or on a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.errors import ForcegateError, error_from_problem
from forcegate_client.messages import Predictions
from forcegate_client.relaxation.batched import relax_batched
from forcegate_client.relaxation.entrance import admitted
from forcegate_client.relaxation.outcome import Evaluate, Relaxed, failed
from forcegate_client.results import with_results
from forcegate_client.structures import StructureBatch

__all__ = ["Minimum", "Move", "problems_in", "relax_elsewhere"]

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Minimum:
    """Where a structure has come to rest, or run out of steps: Å, eV, eV/Å.

    One that ``error`` has ended has no energy and no forces.
    """

    positions: Float
    steps: int
    converged: bool
    energy: float | None = None
    forces: Float | None = None
    error: ForcegateError | None = None


Move = Callable[[StructureBatch, Bool], Iterator[tuple[int, Minimum]]]
"""What becomes of each structure of a batch, whose atoms ``fixed`` [N] stay, in any order."""


def relax_elsewhere(
    structures: Iterable[Atoms],
    evaluate: Evaluate,
    move: Move,
    *,
    fmax: float,
    max_steps: int,
    atoms_at_once: int,
) -> Iterator[Relaxed]:
    """As ``relax_batched``, along the paths of ``move``; ``evaluate`` is asked at their begin.

    Structures of which single coordinates are held go the way of ``relax_batched``.

    Raises:
        ForcegateError: what ended all of them.
    """
    others: list[tuple[int, Atoms]] = []
    batch: list[tuple[int, Atoms, Bool]] = []
    for index, atoms in enumerate(structures):
        try:
            held = admitted(atoms)
        except ForcegateError as error:
            yield failed(index, atoms, None, 0, error)
            continue
        whole: Bool = np.asarray(held.all(axis=1))
        if (held.any(axis=1) != whole).any():
            others.append((index, atoms))
            continue
        batch.append((index, atoms, whole))
        if sum(len(one) for _, one, _ in batch) >= atoms_at_once:
            yield from _relaxed(batch, evaluate, move)
            batch = []
    yield from _relaxed(batch, evaluate, move)
    chosen = [atoms for _, atoms in others]
    for one in relax_batched(chosen, evaluate, fmax=fmax, max_steps=max_steps):
        index = others[one.index][0]
        problem = None if one.problem is None else one.problem | {"structure": index}
        yield replace(one, index=index, problem=problem)


def problems_in(found: Predictions) -> dict[int, ForcegateError]:
    """What was refused, by its place."""
    return {b: error_from_problem(told, 422) for b, told in found.problems.items()}


def _relaxed(
    given: list[tuple[int, Atoms, Bool]], evaluate: Evaluate, move: Move
) -> Iterator[Relaxed]:
    if not given:
        return
    batch = StructureBatch.from_atoms([atoms for _, atoms, _ in given])
    found = evaluate(batch)
    for b, error in problems_in(found).items():
        yield failed(*given[b][:2], None, 0, error)
    energies = [] if found.energy is None else found.energy.tolist()
    start: dict[int, float] = dict(zip(found.index.tolist(), energies, strict=True))
    going = [b for b in range(len(given)) if b in start]
    if not going:
        return
    fixed = np.concatenate([given[b][2] for b in going])
    for place, end in move(batch.select(going), fixed):
        b = going[place]
        index, atoms, held = given[b]
        moved = atoms.copy()
        moved.arrays["positions"][:] = end.positions
        if end.error is not None:
            yield failed(index, moved, start[b], end.steps, end.error)
            continue
        assert end.energy is not None
        assert end.forces is not None
        yield Relaxed(
            index=index,
            atoms=with_results(moved, end.energy, end.forces),
            start_energy=start[b],
            energy=end.energy,
            max_force=float(np.linalg.norm(end.forces[~held], axis=1).max(initial=0.0)),
            steps=end.steps,
            converged=end.converged,
        )
