"""A server of runs in this process, over the engine, that fails when and how a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import numpy as np

from forcegate_client.errors import ForcegateError
from forcegate_client.http.connection import REQUEST_ID
from forcegate_client.http.verification import REQUEST_DIGEST, digest_of
from forcegate_client.local.models import LocalModels
from forcegate_client.runs import (
    RUN_PATHS,
    End,
    Frame,
    Progress,
    Record,
    RunHeader,
    RunRequest,
    RunSummary,
    SummaryReason,
    Task,
)
from forcegate_client.structures import StructureBatch
from forcegate_client.testing import problem
from forcegate_client.wire import MEDIA_TYPE, decode_request, encode_response
from forcegate_client.wire.run_records import RECORDS, encode
from forcegate_client.wire.run_request import decode_run
from forcegate_engine import integrate, relax
from support.models import REPOSITORY

__all__ = ["Fault", "RunServer"]

MODEL = "painn_ultra_tiny"


@dataclass(frozen=True)
class Fault:
    """After so many ``records`` of a stream it ends: in silence, within a record, or with a word.

    ``0`` records: before the header, which is a refusal by ``status``.
    """

    records: int
    how: Literal["cut", "torn", "draining", "deadline"] = "cut"
    status: int = 503


@dataclass
class RunServer:
    """``faults`` are those of the next streams, one each; ``runs`` are those that were asked for.

    ``read`` is how many records of the last stream were taken from it.
    """

    faults: list[Fault] = field(default_factory=list)
    runs: list[RunRequest] = field(default_factory=list)
    predictions: int = 0
    digest: str | None = None
    knows_runs: bool = True
    read: int = 0
    closed: int = 0
    models: LocalModels = field(default_factory=lambda: LocalModels(REPOSITORY, threads=1))

    @property
    def transport(self) -> httpx.MockTransport:
        """What to give to a client."""
        return httpx.MockTransport(self.handle)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        try:
            answer = self._route(request)
        except ForcegateError as error:
            answer = problem(error)
        answer.headers[REQUEST_ID] = request.headers.get(REQUEST_ID, "")
        if request.content:
            answer.headers[REQUEST_DIGEST] = digest_of(request.content)
        return answer

    def _route(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        task: Task | None = next((t for t, at in RUN_PATHS.items() if path == at), None)
        if task is not None and self.knows_runs:
            if request.method == "GET":
                return httpx.Response(405, json={"code": "method_not_allowed", "status": 405})
            return self._stream(decode_run(task, request.content))
        if path == "/v1/predict":
            self.predictions += 1
            asked = decode_request(request.content)
            found = self.models.predict(
                asked.structures, asked.model, asked.version, asked.properties, asked.on_error
            )
            content = encode_response(found)
            return httpx.Response(200, content=content, headers={"Content-Type": MEDIA_TYPE})
        if path == "/v1/models":
            return httpx.Response(200, json={"models": self.models.models()})
        if path.startswith("/v1/models/"):
            card = self.models.model(path.rpartition("/")[2], request.url.params.get("version"))
            return httpx.Response(200, json=card)
        return httpx.Response(404, json={"code": "route_not_found", "status": 404})

    def _stream(self, run: RunRequest) -> httpx.Response:
        self.runs.append(run)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and fault.records == 0:
            document = {"code": "runtime_unavailable", "status": fault.status, "received": "gone"}
            return httpx.Response(fault.status, json=document)
        self.read = 0
        return httpx.Response(
            200, stream=_Stream(self, self._bytes(run, fault)), headers={"Content-Type": RECORDS}
        )

    def _bytes(self, run: RunRequest, fault: Fault | None) -> Iterator[bytes]:
        last: dict[int, Frame] = {}
        for record in self._records(run):
            if isinstance(record, Frame):
                last[record.structure] = record
            if fault is not None and self.read == fault.records:
                if fault.how == "torn":
                    yield encode(record, RECORDS)[:-3]
                if fault.how in ("draining", "deadline"):
                    reason: SummaryReason = "draining" if fault.how == "draining" else "deadline"
                    yield encode(RunSummary(reason, 0, 0.0), RECORDS)
                return
            self.read += 1
            yield encode(record, RECORDS)

    def _records(self, run: RunRequest) -> Iterator[Record]:
        student = self.models.student(run.model, run.version)
        card = student.card
        yield RunHeader(
            *(run.task, run.method, card.name, card.version, self.digest or card.digest),
            card.card_digest,
            len(run.structures),
            status=dict(card.status),
        )
        yield Progress(0)
        move = self._dynamics if run.task == "dynamics" else self._relaxation
        yield from move(run)
        yield RunSummary("finished", run.steps, 0.1)

    def _dynamics(self, run: RunRequest) -> Iterator[Record]:
        """All structures by turns, an interval each, until each has ended."""
        batch, size = run.structures, len(run.structures)
        bounds = batch.offsets
        starts = np.zeros(size, dtype=np.int64) if run.start_steps is None else run.start_steps
        streams = np.arange(size) if run.streams is None else run.streams
        assert run.velocities is not None
        assert run.masses is not None
        state: dict[int, Any] = {
            b: (int(starts[b]), batch.positions[rows], run.velocities[rows])
            for b in range(size)
            for rows in [slice(bounds[b], bounds[b + 1])]
        }
        every = run.frame_interval or run.steps
        model = self.models.student(run.model, run.version).model
        while state:
            for b, (step, positions, velocities) in list(state.items()):
                rows, goal = (
                    slice(bounds[b], bounds[b + 1]),
                    min(step + every - step % every, run.steps),
                )
                moved = integrate(
                    *(model, batch.atomic_numbers[rows], positions, velocities, run.masses[rows]),
                    steps=goal - step,
                    timestep_fs=run.timestep_fs,
                    temperature_k=run.temperature_k,
                    friction_per_fs=run.friction_per_fs,
                    seed=run.seed,
                    start_step=step,
                    streams=streams[b : b + 1],
                    threads=1,
                )
                state[b] = goal, moved.positions, moved.velocities
                yield Frame(
                    *(b, goal, moved.positions, float(moved.evaluation.energy[0])),
                    moved.velocities,
                    max_novelty=float(moved.evaluation.atom_novelty.max()),
                    energy_uncertainty=float(moved.evaluation.energy_uncertainty[0]),
                    forces=moved.evaluation.forces if "forces" in run.properties else None,
                )
                if goal == run.steps:
                    del state[b]
                    yield End(b, goal, "finished")

    def _relaxation(self, run: RunRequest) -> Iterator[Record]:
        """One structure after the other, by FIRE whatever was asked for."""
        model = self.models.student(run.model, run.version).model
        for b in range(len(run.structures)):
            one: StructureBatch = run.structures.select([b])
            rows = slice(run.structures.offsets[b], run.structures.offsets[b + 1])
            for steps in range(0, run.steps + 1):
                found = relax(
                    *(model, one.atomic_numbers, one.positions),
                    fmax=run.fmax,
                    max_steps=steps,
                    fixed=None if run.fixed is None else run.fixed[rows],
                    threads=1,
                )
                there = bool(found.converged[0])
                last = there or steps == run.steps
                if last or (run.frame_interval and steps % run.frame_interval == 0):
                    forces = found.evaluation.forces.copy()
                    if run.fixed is not None:
                        forces[run.fixed[rows]] = 0.0
                    yield Frame(
                        *(b, int(found.steps[0]), found.positions),
                        float(found.evaluation.energy[0]),
                        fmax=float(np.linalg.norm(forces, axis=1).max()),
                        forces=found.evaluation.forces if "forces" in run.properties else None,
                    )
                if last:
                    yield End(b, int(found.steps[0]), "converged" if there else "not_converged")
                    break


class _Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, server: RunServer, pieces: Iterator[bytes]) -> None:
        self._server, self._pieces = server, pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    def close(self) -> None:
        self._server.closed += 1

    async def aclose(self) -> None:
        self._server.closed += 1
