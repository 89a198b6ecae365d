"""The bodies of requests for runs: msgpack by the wire's own reader, JSON by this one."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from forcegate_client.checks.structures import Problems
from forcegate_client.errors import InvalidStructure
from forcegate_client.runs import METHODS, RunRequest, Task
from forcegate_client.wire.run_request import checked, decode_run
from forcegate_service.contract.json_body import read_object
from forcegate_service.predict.forms import JSON, Form
from forcegate_service.predict.json_errors import STRUCTURE_FIELDS, explain
from forcegate_service.predict.json_request import StructureBody, Vector, batch_of, json_bounds
from forcegate_service.predict.prepare import check_size
from forcegate_service.settings import Settings

__all__ = ["RunBody", "read_run"]

_OF_ATOMS = ("velocities", "masses", "fixed")
_OF_STRUCTURES = {"start_step": "start_steps", "stream": "streams"}
_COMMON = ("model", "properties", "structures")
# What each field holds; docs/runs.md tells more.
_FIELDS = {
    "model": "the name of a model, a string",
    "version": 'a version as a string such as "1", or null for the default',
    "method": '"nve" or "langevin"; "fire" or "lbfgs"',
    "structures": "a list of structures",
    **dict.fromkeys(("steps", "frame_interval", "seed"), "a whole number from 0 on"),
    "properties": "a list of strings",
    "on_error": '"raise" or "partial"',
    "on_guard": '"stop" or "flag"',
    **dict.fromkeys(
        (
            *("max_novelty", "max_force_uncertainty", "timestep_fs", "temperature_k"),
            *("friction_per_fs", "fmax"),
        ),
        "a number",
    ),
    "relax_cell": "false: cells stay as they are",
}
_STRUCTURE_FIELDS = {
    "velocities": "a list of [x, y, z] in Å/fs",
    "masses": "a list of numbers in u",
    "fixed": "a list of true or false, one for each atom",
    "start_step": "a whole number from 0 on",
    "stream": "a whole number from 0 on",
}


class RunStructureBody(StructureBody):
    """A structure, and what it moves with."""

    velocities: Annotated[list[Vector], Field(fail_fast=True)] | None = Field(
        None, description="Å/fs"
    )
    masses: Annotated[list[float], Field(fail_fast=True)] | None = Field(None, description="u")
    fixed: Annotated[list[bool], Field(fail_fast=True)] | None = Field(
        None, description="atoms that stay"
    )
    start_step: int | None = None
    stream: int | None = Field(None, description="which noise; its index if left out")


class RunBody(BaseModel):
    """What is to be moved, how, and what is to be told of it; docs/runs.md has every field."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    version: str | None = None
    method: str
    steps: int
    frame_interval: int | None = None
    properties: Annotated[list[str], FailFast()] = []
    on_error: str | None = None
    on_guard: str | None = None
    max_novelty: float | None = None
    max_force_uncertainty: float | None = None
    timestep_fs: float | None = None
    temperature_k: float | None = None
    friction_per_fs: float | None = None
    seed: int | None = None
    fmax: float | None = None
    relax_cell: bool | None = None
    structures: Annotated[list[RunStructureBody], FailFast()]


def read_run(
    task: Task, body: bytes, form: Form, settings: Settings
) -> tuple[RunRequest, Problems]:
    """The request in ``body``, and what is wrong with its structures as far as that is known.

    Raises:
        ForcegateError: if it is no request, or a larger one than may be asked.
    """
    limits = {"max_structures": settings.max_structures, "max_atoms": settings.max_atoms}
    if form != JSON:
        return decode_run(task, body, **limits), {}
    try:
        message = RunBody.model_validate(read_object(body, json_bounds(settings)))
    except ValidationError as error:
        raise explain(error, _FIELDS, STRUCTURE_FIELDS | _STRUCTURE_FIELDS) from None
    structures = message.structures
    check_size(len(structures), sum(len(item.positions) for item in structures), settings)
    batch, ids, problems = batch_of(structures)
    plain = message.model_dump(exclude=set(_COMMON), exclude_none=True)
    request = RunRequest(
        task=task,
        structures=batch,
        model=message.model,
        method=METHODS[task][0],
        steps=0,
        properties=tuple(message.properties),
        ids=ids,
    )
    return checked(task, plain | _columns(structures, problems), request), problems


def _columns(structures: list[RunStructureBody], problems: Problems) -> dict[str, Any]:
    """What structures move with, as the columns of all; those with a problem have no atoms."""
    sound = [(b, item) for b, item in enumerate(structures) if b not in problems]
    found: dict[str, Any] = {}
    for name in _OF_ATOMS:
        if all(getattr(item, name) is None for _, item in sound):
            continue
        parts = []
        for b, item in sound:
            given = getattr(item, name)
            if given is not None and len(given) != len(item.positions):
                raise InvalidStructure(
                    f"{len(given)} {name} and {len(item.positions)} positions",
                    expected="one for each atom",
                    action="correct the structure",
                    code="shape_mismatch",
                    structure=b,
                )
            parts.append(_default(name, item, b) if given is None else np.array(given))
        found[name] = np.concatenate(parts)
    for name, column in _OF_STRUCTURES.items():
        values = [getattr(item, name) for item in structures]
        if any(value is not None for value in values):
            default = range(len(values)) if name == "stream" else [0] * len(values)
            pairs = zip(values, default, strict=True)
            # Of any size: what does not fit is refused by whoever checks them.
            found[column] = np.array(
                [other if value is None else max(min(value, 2**62), -1) for value, other in pairs]
            )
    return found


def _default(name: str, item: RunStructureBody, structure: int) -> Any:
    n = len(item.positions)
    if name == "masses":
        raise InvalidStructure(
            "no masses, where other structures have some",
            expected="masses of all structures, or of none",
            action="add them, or leave the others out",
            code="field_missing",
            structure=structure,
        )
    return np.zeros((n, 3)) if name == "velocities" else np.zeros(n, dtype=np.bool_)
