"""The bodies of requests for runs: msgpack by the wire's own reader, JSON by this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, WithJsonSchema

from forcegate_client.checks.structures import Problems
from forcegate_client.errors import InvalidStructure
from forcegate_client.runs import EXTRA_COLUMNS, METHODS, RunRequest, Task
from forcegate_client.wire.run_request import checked, decode_run
from forcegate_service.contract.json_body import read_object
from forcegate_service.predict.forms import JSON, Form
from forcegate_service.predict.json_errors import STRUCTURE_FIELDS, explain
from forcegate_service.predict.json_request import StructureBody, Vector, batch_of, json_bounds
from forcegate_service.predict.prepare import check_size
from forcegate_service.settings import Settings

__all__ = ["DynamicsBody", "RelaxBody", "read_run"]

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


def _within(least: float, most: float) -> dict[str, Any]:
    """Told in the document; whoever checks the values says what is wrong with one."""
    return {"minimum": least, "maximum": most}


def _one_of(*values: str) -> dict[str, Any]:
    return {"enum": [*values]}


_COUNT = _within(0, 10**12)
_Speeds = Annotated[
    list[Vector],
    Field(fail_fast=True),
    WithJsonSchema(
        {
            "type": "array",
            "items": {
                **{"type": "array", "minItems": 3, "maxItems": 3},
                "items": {"type": "number", "minimum": -1000, "maximum": 1000},
            },
        }
    ),
]
_Masses = Annotated[
    list[float],
    Field(fail_fast=True),
    WithJsonSchema({"type": "array", "items": {"type": "number", "minimum": 1e-3, "maximum": 1e4}}),
]


class RelaxedStructureBody(StructureBody):
    """A structure, and the atoms of it that stay."""

    fixed: Annotated[list[bool], Field(fail_fast=True)] | None = None


class MovedStructureBody(RelaxedStructureBody):
    """A structure, and what it moves with."""

    velocities: _Speeds | None = Field(None, description="Å/fs; at rest if left out")
    masses: _Masses | None = Field(None, description="u; those of the elements if left out")
    start_step: int | None = Field(None, description="where it goes on", json_schema_extra=_COUNT)
    stream: int | None = Field(
        None,
        description="which noise; its index if left out",
        json_schema_extra=_within(0, 2**32 - 1),
    )


class _RunBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    version: str | None = None
    steps: int = Field(json_schema_extra=_COUNT)
    frame_interval: int | None = Field(None, json_schema_extra=_COUNT)
    properties: Annotated[
        list[Annotated[str, WithJsonSchema({"type": "string", "enum": [*EXTRA_COLUMNS]})]],
        FailFast(),
    ] = []
    on_error: str | None = Field(None, json_schema_extra=_one_of("raise", "partial"))
    on_guard: str | None = Field(None, json_schema_extra=_one_of("flag", "stop"))
    max_novelty: float | None = Field(None, json_schema_extra=_within(0, 1e9))
    max_force_uncertainty: float | None = Field(
        None, description="eV/Å", json_schema_extra=_within(0, 1e6)
    )


class DynamicsBody(_RunBody):
    """What is to be moved by dynamics, how, and what is told of it; docs/runs.md has more."""

    method: str = Field(json_schema_extra=_one_of(*METHODS["dynamics"]))
    timestep_fs: float | None = Field(None, json_schema_extra=_within(1e-3, 20))
    temperature_k: float | None = Field(None, json_schema_extra=_within(0, 1e5))
    friction_per_fs: float | None = Field(None, json_schema_extra=_within(0, 10))
    seed: int | None = Field(None, json_schema_extra=_within(0, 2**62 - 1))
    structures: Annotated[list[MovedStructureBody], FailFast()]


class RelaxBody(_RunBody):
    """What is to come to rest, how, and what is told of it; docs/runs.md has more."""

    method: str = Field(json_schema_extra=_one_of(*METHODS["relax"]))
    fmax: float | None = Field(None, description="eV/Å", json_schema_extra=_within(1e-15, 1e3))
    relax_cell: bool | None = Field(None, description="cells stay as they are")
    structures: Annotated[list[RelaxedStructureBody], FailFast()]


_BODIES: dict[Task, type[DynamicsBody | RelaxBody]] = {
    "dynamics": DynamicsBody,
    "relax": RelaxBody,
}


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
        message = _BODIES[task].model_validate(read_object(body, json_bounds(settings)))
    except ValidationError as error:
        raise explain(error, _FIELDS, STRUCTURE_FIELDS | _STRUCTURE_FIELDS) from None
    structures = [*message.structures]
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


def _columns(structures: Sequence[RelaxedStructureBody], problems: Problems) -> dict[str, Any]:
    """What structures move with, as the columns of all; those with a problem have no atoms."""
    sound = [(b, item) for b, item in enumerate(structures) if b not in problems]
    found: dict[str, Any] = {}
    for name in _OF_ATOMS:
        if all(getattr(item, name, None) is None for _, item in sound):
            continue
        parts = []
        for b, item in sound:
            given = getattr(item, name, None)
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
        values = [getattr(item, name, None) for item in structures]
        if any(value is not None for value in values):
            default = range(len(values)) if name == "stream" else [0] * len(values)
            pairs = zip(values, default, strict=True)
            # Of any size: what does not fit is refused by whoever checks them.
            found[column] = np.array(
                [other if value is None else max(min(value, 2**62), -1) for value, other in pairs]
            )
    return found


def _default(name: str, item: RelaxedStructureBody, structure: int) -> Any:
    n = len(item.positions)
    if name == "masses":
        raise InvalidStructure(
            "no masses, where other structures have some",
            expected="masses of all structures, or of none",
            action="add them, or leave the others out",
            code="shape_mismatch",
            structure=structure,
        )
    return np.zeros((n, 3)) if name == "velocities" else np.zeros(n, dtype=np.bool_)
