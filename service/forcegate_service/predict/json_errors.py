"""Why a JSON request cannot be read, in words that help its author."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from forcegate_client.errors import UnprocessableRequest
from forcegate_service.contract.json_body import shown

__all__ = ["STRUCTURE_FIELDS", "explain"]

# What each field holds, by its place; a structure's fields are under "structures".
_REQUEST_FIELDS = {
    "model": "the name of a model, a string",
    "version": 'a version as a string such as "1", or null for the default',
    "properties": "a list of strings",
    "on_error": '"raise" or "partial"',
    "structures": "a list of structures",
}
STRUCTURE_FIELDS = {
    "id": "a string of at most 1000 characters, or null",
    "atomic_numbers": "a list of integers such as [8, 1, 1]",
    "symbols": 'a list of strings such as ["O", "H", "H"]',
    "positions": "a list of [x, y, z] in Å",
    "cell": "three lattice vectors [[x, y, z], [x, y, z], [x, y, z]] in Å, or null",
    "pbc": "true, false, or a list of three of them",
    "charge": "an integer",
    "multiplicity": "an integer",
}
_WITHOUT_MODEL = (
    'add for instance "model": "default", the server\'s own choice; GET /v1/models lists all'
)
_CODES = {
    "extra_forbidden": "field_unknown",
    "missing": "field_missing",
    "too_long": "shape_mismatch",
    "too_short": "shape_mismatch",
    "string_too_long": "value_out_of_range",
}


def explain(
    error: ValidationError,
    request_fields: Mapping[str, str] = _REQUEST_FIELDS,
    structure_fields: Mapping[str, str] = STRUCTURE_FIELDS,
) -> UnprocessableRequest:
    """The error to answer with: that of the first field which cannot be read.

    What each field of a request, and of a structure, holds is told by name.
    """
    first = error.errors(include_url=False, include_context=False)[0]
    place = first["loc"]
    structure = place[1] if place[0] == "structures" and len(place) > 1 else None
    in_structure = len(place) > 2 and structure is not None
    fields = structure_fields if in_structure else request_fields
    field = str(place[2] if in_structure else place[0])
    code = _code(first, field)
    received = {
        "field_missing": f"no field {field!r}",
        "field_unknown": f"unknown field {shown(field)}",
    }.get(code, f"{_path(place, {*request_fields, *fields})}: {shown(first['input'])}")
    listed = f"the fields {', '.join(fields)}"
    described = fields.get(field, "a documented field")
    if structure is not None and not in_structure:
        described = f"an object with the fields {', '.join(structure_fields)}"
    return UnprocessableRequest(
        received,
        expected=listed if code.startswith("field_") else described,
        action=_WITHOUT_MODEL
        if (code, field) == ("field_missing", "model")
        else "correct the field; GET /docs shows an example of each",
        code=code,
        structure=structure if isinstance(structure, int) else None,
    )


def _code(error: ErrorDetails, field: str) -> str:
    code = _CODES.get(error["type"], "type_mismatch")
    if code == "field_missing" and isinstance(error["loc"][-1], int):
        # A vector that is too short lacks an item, not a field.
        return "shape_mismatch"
    if field == "on_error" and code == "type_mismatch":
        return "on_error_unknown"
    return code


def _path(place: tuple[int | str, ...], names: set[str]) -> str:
    """``structures[0].positions[1]``; names of types that pydantic inserts are left out."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in place]
    shown = [
        text
        for part, text in zip(place, parts, strict=True)
        if isinstance(part, int) or part in names
    ]
    return "".join(shown).lstrip(".")
