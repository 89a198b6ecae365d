"""The binary form of ``POST /v1/dynamics`` and ``/v1/relax``: the columns of a prediction's
structures, some more beside them, and plain numbers.

What every number may be is checked here, for both forms of a request and on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

import msgpack
import numpy as np
import numpy.typing as npt

from forcegate_client.errors import ForcegateError, UnprocessableRequest
from forcegate_client.runs import EXTRA_COLUMNS, METHODS, RunRequest, Task
from forcegate_client.wire.bounded_map import Fields, read_map
from forcegate_client.wire.codec import SCHEMA
from forcegate_client.wire.fields import buffer, require_fields, shown, text_field, wrong_type
from forcegate_client.wire.structures import COLUMNS, decode_structures, encode_structures

__all__ = ["checked", "decode_run", "encode_run"]

_ATOM_COLUMNS = {"velocities": ("<f8", 3), "masses": ("<f8", 1), "fixed": ("u1", 1)}
_STRUCTURE_COLUMNS = {"start_steps": "<i8", "streams": "<i8"}
# What each task alone is asked with; the other refuses it.
_ONLY: Mapping[str, Task] = {
    **dict.fromkeys(
        (
            *("timestep_fs", "temperature_k", "friction_per_fs", "seed"),
            *("velocities", "masses", "start_steps", "streams"),
        ),
        "dynamics",
    ),
    **dict.fromkeys(("fmax", "relax_cell"), "relax"),
}
# From least to most.
_RANGES: Mapping[str, tuple[float, float]] = {
    "timestep_fs": (1e-3, 20.0),
    "temperature_k": (0.0, 1e5),
    "friction_per_fs": (0.0, 10.0),
    # Far below what rounding leaves: a run may be meant to use all of its steps.
    "fmax": (1e-15, 1e3),
    "max_novelty": (0.0, 1e9),
    "max_force_uncertainty": (0.0, 1e6),
}
_COUNTS: Mapping[str, int] = {"steps": 10**12, "frame_interval": 10**12, "seed": 2**62 - 1}
_SINGLE = (
    *("schema", "model", "version", "method", "on_error", "on_guard"),
    *("relax_cell", *_RANGES, *_COUNTS),
)
_NUMBERS = (*_RANGES, *_COUNTS)


def encode_run(request: RunRequest) -> bytes:
    """The msgpack body of ``request``."""
    structures = encode_structures(request.structures, request.ids)
    for name, dtype in _dtypes().items():
        values = getattr(request, name)
        if values is not None and _belongs(name, request.task):
            structures[name] = np.ascontiguousarray(values).astype(dtype).tobytes()
    message: dict[str, Any] = {
        "schema": SCHEMA,
        "model": request.model,
        "method": request.method,
        "properties": list(request.properties),
        "on_error": request.on_error,
        "on_guard": request.on_guard,
        "structures": structures,
    }
    for name in ("version", *_NUMBERS):
        value = getattr(request, name)
        if value is not None and _belongs(name, request.task):
            message[name] = value
    return cast(bytes, msgpack.packb(message))


def decode_run(
    task: Task, body: bytes, *, max_structures: int | None = None, max_atoms: int | None = None
) -> RunRequest:
    """Read a request; nothing in it is trusted.

    Raises:
        MalformedBody: if the body is not a msgpack map.
        UnprocessableRequest: if a field is missing, unknown, repeated, of another type or length,
            or of a value that no run has.
        PayloadTooLarge: if there are more structures or atoms than the limits allow.
    """
    longest = len(body) // 8 if max_structures is None else max_structures
    message = read_map(body, _run_fields(longest))
    require_fields(message, ("schema", "model", "method", "steps", "structures"))
    if type(message["schema"]) is not int or message["schema"] != SCHEMA:
        raise UnprocessableRequest(
            f"schema {shown(message['schema'])}",
            expected=f"schema {SCHEMA}",
            action="use a client of the server's version",
            code="schema_unsupported",
        )
    raw = message["structures"]
    structures, ids = decode_structures(raw, max_structures, max_atoms)
    columns: dict[str, npt.NDArray[Any]] = {}
    for name, dtype in _dtypes().items():
        if raw.get(name) is not None:
            width = _ATOM_COLUMNS[name][1] if name in _ATOM_COLUMNS else 1
            rows = structures.total_atoms * width if name in _ATOM_COLUMNS else len(structures)
            flat = buffer(raw, name, dtype, rows=rows)
            columns[name] = flat.reshape(-1, width) if width > 1 else flat
    plain = {name: message[name] for name in _SINGLE[2:] if message.get(name) is not None}
    properties = message.get("properties", [])
    return checked(
        task,
        plain | columns,
        RunRequest(
            task=task,
            structures=structures,
            model=text_field(message, "model"),
            method=METHODS[task][0],
            steps=0,
            properties=tuple(properties) if isinstance(properties, list) else (properties,),
            ids=ids,
        ),
    )


def checked(task: Task, given: Mapping[str, Any], request: RunRequest) -> RunRequest:
    """``request`` with the fields ``given`` by name, each of which is held to what it may be.

    Raises:
        UnprocessableRequest: naming the first that is not.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if not _belongs(name, task):
            raise _wrong(
                f"{name} in a request for {_TOLD[task]}",
                f"the fields of {_TOLD[task]}",
                "leave it out",
                code="field_unknown",
            )
        if name in _RANGES:
            found[name] = _within(name, value)
        elif name in _COUNTS:
            found[name] = _counted(name, value)
        elif name in _CHOICES:
            found[name] = _chosen(name, value, _CHOICES[name])
        elif name == "method":
            found[name] = _chosen(name, value, METHODS[task])
        elif name == "version":
            found[name] = text_field(given, name)
        elif name == "relax_cell":
            _refuse_cells(value)
        else:
            found[name] = _column(name, value)
    for name in request.properties:
        _chosen("properties", name, EXTRA_COLUMNS)
    whole = replace(request, **found)
    starts = whole.start_steps
    if starts is not None and (late := starts[starts > whole.steps]).size:
        raise _wrong(
            f"start_steps {int(late[0])} beyond steps {whole.steps}",
            "steps to be the number of the last step, counted from the run's first",
            "correct either",
            code="steps_contradictory",
        )
    if whole.method == "langevin" and not whole.friction_per_fs:
        raise _wrong(
            "langevin without a friction",
            "friction_per_fs above 0, such as 0.001, and temperature_k",
            "add it, or ask for nve",
            code="friction_missing",
        )
    return whole


_CHOICES = {"on_error": ("raise", "partial"), "on_guard": ("flag", "stop")}
_UNKNOWN = {"on_error": "on_error_unknown", "properties": "property_unknown"}
_TOLD = {"dynamics": "dynamics", "relax": "relaxation"}


@lru_cache(maxsize=4)
def _run_fields(max_structures: int) -> Fields:
    columns = (*COLUMNS, *_ATOM_COLUMNS, *_STRUCTURE_COLUMNS)
    return {
        **dict.fromkeys(_SINGLE),
        "properties": 100,
        "structures": {**dict.fromkeys(columns), "ids": max_structures},
    }


def _dtypes() -> dict[str, str]:
    return {name: dtype for name, (dtype, _) in _ATOM_COLUMNS.items()} | _STRUCTURE_COLUMNS


def _belongs(name: str, task: Task) -> bool:
    return _ONLY.get(name, task) == task


def _within(name: str, value: Any) -> float:
    least, most = _RANGES[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(name, value, "a number")
    if not least <= value <= most or math.isnan(value):
        raise _wrong(
            f"{name} {shown(value)}",
            f"{least:g} to {most:g}",
            "correct it",
            code="value_out_of_range",
        )
    return float(value)


def _counted(name: str, value: Any) -> int:
    if type(value) is not int:
        raise wrong_type(name, value, "a whole number")
    if not 0 <= value <= _COUNTS[name]:
        raise _wrong(
            f"{name} {shown(value)}",
            f"0 to {_COUNTS[name]}",
            "correct it",
            code="value_out_of_range",
        )
    return value


def _chosen(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        told = " or ".join(repr(choice) for choice in choices)
        code = _UNKNOWN.get(name, "value_out_of_range")
        raise _wrong(f"{name} {shown(value)}", told, "correct it", code=code)
    return cast(str, value)


def _column(name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A column of the right length; what it holds is looked at."""
    if name == "fixed":
        return np.asarray(values != 0)
    if name in _STRUCTURE_COLUMNS:
        whole = values.astype(np.int64)
        largest = _COUNTS["steps"] if name == "start_steps" else 2**32 - 1
        if ((whole < 0) | (whole > largest)).any():
            raise _wrong(
                f"{name} {int(whole.min())} to {int(whole.max())}",
                f"0 to {largest}",
                "correct them",
                code="value_out_of_range",
            )
        return whole
    numbers = values.astype(np.float64)
    least, most = (1e-3, 1e4) if name == "masses" else (-1e3, 1e3)
    # Also what is no number at all.
    if not ((numbers >= least) & (numbers <= most)).all():
        raise _wrong(
            f"{name} out of range",
            f"{least:g} to {most:g}",
            "correct them",
            code="value_out_of_range",
        )
    return numbers


def _refuse_cells(value: Any) -> None:
    if value is not False:
        raise _wrong(
            f"relax_cell {shown(value)}",
            "positions alone to be relaxed; cells stay as they are",
            "leave relax_cell out, or relax the cell with an optimiser of ASE's over "
            "RemoteCalculator, which knows the stress",
            code="relax_cell_unsupported",
        )


def _wrong(received: str, expected: str, action: str, *, code: str) -> ForcegateError:
    return UnprocessableRequest(received, expected=expected, action=action, code=code)
