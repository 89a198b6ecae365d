"""A batch on its way, and what each of those who share it gets of its answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forcegate_client.checks.plausible import implausible
from forcegate_client.wire.columns import finite as finite_rows
from forcegate_client.wire.columns import not_finite
from forcegate_service.contract.runtime import Done, ModelOutput, Start
from forcegate_service.contract.size import size_of
from forcegate_service.contract.structures import Structures
from forcegate_service.queue.cost import Timing
from forcegate_service.queue.isolate import Faults, evaluate_isolated
from forcegate_service.queue.microbatch import Microbatch
from forcegate_service.queue.version import ServedVersion

__all__ = ["Answer", "Batch", "Work", "answers_of"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome for one submitted microbatch, and the seconds it waited and was computed.

    ``faults`` are the structures whose row of ``output`` is no answer; ``finite``: every number of
    it is.
    """

    output: ModelOutput
    faults: Faults
    finite: bool
    queue_s: float
    inference_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """A microbatch that somebody waits for."""

    microbatch: Microbatch
    future: asyncio.Future[Answer]
    queued_at: float


@dataclass(slots=True, eq=False)
class Batch:
    """What is evaluated together, begun at ``started`` and predicted to take ``seconds``.

    ``alone``: nothing else is evaluated, or called, on the inference thread meanwhile. Without
    ``work`` nobody has asked for it yet.
    """

    version: ServedVersion
    work: Sequence[Work]
    structures: Structures
    seconds: float
    started: float
    alone: bool

    def begin(self, done: Done) -> bool:
        """Whether the runtime needs no thread to wait for it, and has begun."""
        start: Start | None = getattr(self.version.runtime, "start", None)
        return start is not None and start(self.structures, done)

    def evaluate(self, failed: bool) -> tuple[ModelOutput, Faults]:
        """On a thread: all that can be evaluated; all together may have ``failed`` already."""
        return evaluate_isolated(self.version.runtime, self.structures, failed)

    def answers(self, outcome: ModelOutput | tuple[Any, Any], seconds: float) -> list[Answer]:
        """One for each microbatch of work, of what ``begin`` or ``evaluate`` gave."""
        if isinstance(outcome, ModelOutput):
            return answers_of(self, outcome, {}, seconds)
        return answers_of(self, *outcome, seconds)


def answers_of(batch: Batch, output: ModelOutput, faults: Faults, seconds: float) -> list[Answer]:
    """One for each microbatch of work; ``seconds`` is what the evaluation took."""
    structures, version = batch.structures, batch.version
    if not faults:
        version.limit.cost.observe(Timing(size_of(structures), seconds))
    # Of the whole batch at once: the checks of one molecule take as long as those of ten.
    finite = _all_finite(output)
    faults = _judged(output, structures, version, finite) | faults
    if len(batch.work) == 1:
        queue_s = max(0.0, batch.started - batch.work[0].queued_at)
        return [Answer(output, faults, finite, queue_s, seconds)]
    return _divide(batch, output, faults, finite, seconds)


def _divide(
    batch: Batch, output: ModelOutput, faults: Faults, finite: bool, seconds: float
) -> list[Answer]:
    answers = []
    structure = atom = 0
    for work in batch.work:
        last_structure = structure + len(work.microbatch.structures.n_atoms)
        last_atom = atom + len(work.microbatch.structures.atomic_numbers)
        structures, atoms = slice(structure, last_structure), slice(atom, last_atom)
        own = output.part(structures, atoms)
        answers.append(
            Answer(
                output=own,
                faults={
                    index - structure: error
                    for index, error in faults.items()
                    if structure <= index < last_structure
                }
                if faults
                else faults,
                finite=finite or _all_finite(own),
                queue_s=batch.started - work.queued_at,
                inference_s=seconds,
            )
        )
        structure, atom = last_structure, last_atom
    return answers


def _judged(
    output: ModelOutput, structures: Structures, version: ServedVersion, finite: bool
) -> Faults:
    """The structures whose answer is none that could be true, or no number at all."""
    limits = version.card.limits
    found: Faults = {**implausible(output, structures, version.atoms_alone, limits)}
    if not finite:
        bad = np.flatnonzero(~finite_rows(output, structures.n_atoms))
        found |= {b: not_finite() for b in bad.tolist()}
    return found


def _all_finite(output: ModelOutput) -> bool:
    # What is not finite leaves no sum finite.
    total = sum([float(np.add.reduce(column, None)) for column in output if column is not None])
    return math.isfinite(total) or all(
        np.isfinite(column).all() for column in output if column is not None
    )
