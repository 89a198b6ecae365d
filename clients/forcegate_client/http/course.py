"""How far a run on a server has come: what it says is held to what was asked, and gone on from.

The server keeps nothing of a run. Each frame is all that is needed to go on, so a stream that ends
before its run does is asked for again from the last frames, and what comes is what would have come.
A relaxation begins again instead: it is short, and so its path is the same one too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from forcegate_client.errors import (
    DigestChanged,
    ForcegateError,
    GuardPassed,
    RuntimeUnavailable,
    WrongAnswer,
    error_from_problem,
)
from forcegate_client.http.answers import TRANSIENT_STATUSES
from forcegate_client.messages import DEFAULT_MODEL, Predictions, PredictResponse
from forcegate_client.retry import Transient
from forcegate_client.runs import End, Frame, Progress, Record, RunHeader, RunRequest, RunSummary

__all__ = ["Course", "error_in", "failure_of", "response_of"]


class Course:
    """Where each structure of ``request`` is; ``done`` once all have ended.

    ``frames`` counts those that came.
    """

    def __init__(self, request: RunRequest) -> None:
        size = len(request.structures)
        starts = request.start_steps
        self._whole = replace(
            request, start_steps=np.zeros(size, dtype=np.int64) if starts is None else starts
        )
        self._header: RunHeader | None = None
        self._last: dict[int, Frame] = {}
        # Of the structures that have not ended; what the server calls 0 is the first of them.
        self._moving = list(range(size))
        self._asked: list[int] = []
        self.frames = 0
        self.done = False

    def ask(self) -> RunRequest:
        """The request for all that is still to come."""
        self._asked = list(self._moving)
        whole = self._whole
        pinned = whole.version if self._header is None else self._header.version
        part = replace(whole.part(self._moving), version=pinned)
        return part if whole.task == "relax" else self._from_last(part)

    def take(self, record: Record) -> Record | None:
        """What ``record`` is to the caller, who counts structures as they were given; ``None`` for
        what was told before, or is of no interest.

        Raises:
            WrongAnswer: if it does not belong to what was asked.
            DigestChanged: if the run began with other weights.
            Transient: if the server sends the caller away, to come back.
            ForcegateError: if the run has failed.
        """
        if isinstance(record, RunHeader):
            return self._begin(record)
        if self._header is None:
            raise _wrong(f"a {type(record).__name__} first", "a header")
        if isinstance(record, Progress):
            return None
        if isinstance(record, RunSummary):
            return self._finish(record)
        if not record.structure < len(self._asked):
            raise _wrong(f"a record of structure {record.structure}", f"{len(self._asked)} of them")
        record = replace(record, structure=self._asked[record.structure])
        if record.structure not in self._moving:
            raise _wrong(f"more of structure {record.structure}", "nothing after its end")
        return self._end(record) if isinstance(record, End) else self._move(record)

    def blame(self, error: ForcegateError) -> None:
        """Have ``error`` name its structure as the caller counts.

        Raises:
            WrongAnswer: if it names none of them.
        """
        if error.structure is not None:
            if not 0 <= error.structure < len(self._asked):
                raise _wrong(
                    f"{error.code} of structure {error.structure}", f"one of {len(self._asked)}"
                ) from error
            error.structure = self._asked[error.structure]

    def _from_last(self, part: RunRequest) -> RunRequest:
        positions = part.structures.positions.copy()
        velocities = np.zeros_like(positions) if part.velocities is None else part.velocities.copy()
        assert part.start_steps is not None
        starts, bounds = part.start_steps.copy(), part.structures.offsets
        for row, b in enumerate(self._moving):
            if (last := self._last.get(b)) is not None:
                atoms = slice(bounds[row], bounds[row + 1])
                positions[atoms], velocities[atoms] = last.positions, last.velocities
                starts[row] = last.step
        structures = replace(part.structures, positions=positions)
        return replace(part, structures=structures, velocities=velocities, start_steps=starts)

    def _begin(self, header: RunHeader) -> RunHeader | None:
        whole, first = self._whole, self._header
        if (header.task, header.method) != (whole.task, whole.method):
            raise _wrong(f"{header.task} by {header.method}", f"{whole.task} by {whole.method}")
        if header.structures != len(self._asked):
            raise _wrong(f"a run of {header.structures} structures", str(len(self._asked)))
        if header.model != whole.model and whole.model != DEFAULT_MODEL:
            raise _wrong(f"a run by {header.model[:80]!r}", repr(whole.model))
        version = whole.version if first is None else first.version
        if version is not None and header.version != version:
            raise _wrong(f"a run by version {header.version[:80]!r}", repr(version))
        if first is not None:
            before = (first.digest, first.card_digest)
            if (header.digest, header.card_digest) != before:
                raise DigestChanged(
                    f"{header.model} {header.version} with digest {header.digest} and card "
                    f"{header.card_digest}",
                    expected=f"the weights and card that this run began with, {before[0]} and "
                    f"{before[1]}",
                    action="serve the earlier version again, or begin a new run",
                )
            return None
        self._header = header
        return header

    def _move(self, frame: Frame) -> Frame | None:
        b, last = frame.structure, self._last.get(frame.structure)
        n_atoms = int(self._whole.structures.n_atoms[b])
        if len(frame.positions) != n_atoms:
            raise _wrong(f"{len(frame.positions)} atoms in structure {b}", str(n_atoms))
        if self._whole.task == "dynamics":
            starts = self._whole.start_steps
            assert starts is not None
            before = int(starts[b]) if last is None else last.step
            if not before <= frame.step <= self._whole.steps or frame.velocities is None:
                raise _wrong(
                    f"step {frame.step} of structure {b}",
                    f"{before} to {self._whole.steps}, with velocities",
                )
        elif last is not None and frame.step <= last.step:
            return None
        self._last[b] = frame
        self.frames += 1
        return frame

    def _end(self, end: End) -> End:
        self._moving.remove(end.structure)
        self.frames += 1
        return end

    def _finish(self, summary: RunSummary) -> RunSummary | None:
        if summary.reason == "finished":
            if self._moving:
                raise _wrong("the end of a run", f"that of structure {self._moving[0]} before")
            self.done = True
            return summary
        if summary.reason == "failed":
            error = failure_of(summary.problem)
            self.blame(error)
            raise Transient(error) if error.status in TRANSIENT_STATUSES else error
        # What still moves goes on at whoever comes next.
        raise Transient(
            RuntimeUnavailable(
                f"a run that the server broke off ({summary.reason})",
                expected="another server, or this one after its start, to go on with it",
                action="wait",
            )
        )


def response_of(header: RunHeader, frame: Frame) -> PredictResponse:
    """What ``frame`` says of its structure, as an answer to a prediction of it alone."""

    def column(value: float | None) -> npt.NDArray[np.float64] | None:
        return None if value is None else np.array([value])

    told = [*header.warnings.get(frame.structure, []), *frame.warnings]
    return PredictResponse(
        model=header.model,
        version=header.version,
        digest=header.digest,
        card_digest=header.card_digest,
        status=header.status,
        predictions=Predictions(
            index=np.zeros(1, dtype=np.int64),
            n_atoms=np.array([len(frame.positions)]),
            energy=column(frame.energy),
            forces=frame.forces,
            energy_uncertainty=column(frame.energy_uncertainty),
            max_novelty=column(frame.max_novelty),
            charges=frame.charges,
            force_uncertainty=frame.force_uncertainty,
            warnings={0: told} if told else {},
        ),
    )


def failure_of(problem: Mapping[str, Any] | None) -> ForcegateError:
    """The error that ended a run, or a structure of it."""
    document = dict(problem or {})
    status = document.get("status")
    return error_from_problem(document, status if type(status) is int else 500)


def error_in(end: End) -> ForcegateError | None:
    """What ``end`` tells of a structure that has failed, or that a guard has stopped."""
    if end.reason == "failed":
        error = failure_of(end.problem)
        error.structure = None
        return error
    if end.reason == "stopped":
        return GuardPassed(
            f"a frame after {end.step} steps that a guard does not let pass",
            expected="novelty and force uncertainty within max_novelty and max_force_uncertainty",
            action="look at the last frame: the model may be outside its training data; "
            'on_guard="flag" lets a run go on',
        )
    return None


def _wrong(received: str, expected: str) -> WrongAnswer:
    return WrongAnswer(
        f"{received}, in answer to a run",
        expected=expected,
        action="ask again; if it repeats, check the URL, what stands before the server, and its "
        "version",
    )
