"""The JSON form of a request to ``POST /v1/predict``, for people and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any, Literal

import numpy as np
from ase import data as elements
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from forcegate_client.checks.structures import Problems
from forcegate_client.errors import InvalidStructure, UnprocessableRequest
from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.json_body import JSONBounds, read_object, shown
from forcegate_service.predict.json_errors import explain
from forcegate_service.predict.prepare import check_size
from forcegate_service.settings import Settings

__all__ = [
    *("PredictBody", "StructureBody", "Vector"),
    *("batch_of", "json_bounds", "read_json", "request_of"),
]

# JSON has lists alone; what is in them is read strictly all the same.
_FromList = Field(strict=False)
Vector = Annotated[tuple[float, float, float], _FromList]
# What fits the arrays that carry it; whether the model knows it is checked later.
Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]


# Of characters: a name, not a document.
_LONGEST_ID = 1000


class StructureBody(BaseModel):
    """One structure: positions and cell in Å, rows of ``cell`` are the lattice vectors."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            # One of them, and not null.
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "array"}}}
                for name in ("atomic_numbers", "symbols")
            ],
        },
    )

    id: Annotated[str, Field(max_length=_LONGEST_ID)] | None = None
    atomic_numbers: Annotated[list[Int32], Field(fail_fast=True)] | None = None
    symbols: Annotated[list[str], Field(fail_fast=True)] | None = Field(
        None, description='such as ["O", "H", "H"], instead of atomic_numbers'
    )
    positions: Annotated[list[Vector], FailFast()]
    cell: Annotated[tuple[Vector, Vector, Vector], _FromList] | None = None
    pbc: bool | Annotated[tuple[bool, bool, bool], _FromList] = False
    charge: Int32 = 0
    multiplicity: Int32 = 1


class PredictBody(BaseModel):
    """What is asked: which properties of which structures, by which model."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "model": "painn_base",
                    "properties": ["energy", "forces"],
                    "structures": [
                        {
                            "id": "water",
                            "atomic_numbers": [8, 1, 1],
                            "positions": [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]],
                        }
                    ],
                }
            ]
        },
    )

    model: str
    version: str | None = None
    properties: Annotated[list[str], FailFast()] = Field(
        ["energy", "forces"], description="any of energy, forces, stress, uncertainty"
    )
    on_error: Literal["raise", "partial"] = "raise"
    structures: Annotated[list[StructureBody], FailFast()]


def read_json(body: bytes, settings: Settings) -> tuple[PredictRequest, Problems]:
    """Decode ``body``; structures whose lengths disagree come back as problems.

    Raises:
        MalformedBody: if it is not a JSON object.
        UnprocessableRequest: if fields are missing, unknown or of the wrong type.
        PayloadTooLarge: if there are too many atoms, structures or values of any kind.
    """
    return request_of(read_object(body, json_bounds(settings)), settings)


def request_of(document: dict[str, Any], settings: Settings) -> tuple[PredictRequest, Problems]:
    """As ``read_json``, of a document that was bounded and read.

    Raises:
        UnprocessableRequest: if fields are missing, unknown or of the wrong type.
        PayloadTooLarge: if there are too many atoms or structures.
    """
    try:
        message = PredictBody.model_validate(document)
    except ValidationError as error:
        raise explain(error) from None
    structures = message.structures
    check_size(len(structures), sum(len(item.positions) for item in structures), settings)
    batch, ids, problems = batch_of(structures)
    request = PredictRequest(
        structures=batch,
        model=message.model,
        version=message.version,
        properties=tuple(message.properties),
        on_error=message.on_error,
        ids=ids,
    )
    return request, problems


def batch_of(
    structures: Sequence[StructureBody],
) -> tuple[StructureBatch, tuple[str, ...], Problems]:
    """The structures, their ids, and what is wrong with those whose lengths disagree.

    Raises:
        UnprocessableRequest: if one has neither atomic numbers nor symbols.
    """
    numbers: list[list[int]] = []
    problems: Problems = {}
    for index, item in enumerate(structures):
        try:
            numbers.append(_atomic_numbers(index, item))
        except InvalidStructure as problem:
            numbers.append([])
            problems[index] = problem
    # A structure with a problem keeps its place with no atoms.
    sound = [item for index, item in enumerate(structures) if index not in problems]
    positions = list(chain.from_iterable(item.positions for item in sound))
    batch = StructureBatch.from_arrays(
        n_atoms=np.array(
            [0 if b in problems else len(s.positions) for b, s in enumerate(structures)],
            dtype=np.int64,
        ),
        atomic_numbers=list(chain.from_iterable(numbers)),
        positions=np.array(positions, dtype=np.float64).reshape(-1, 3),
        cells=np.array([item.cell or np.zeros((3, 3)) for item in structures]).reshape(-1, 3, 3),
        pbc=np.array([np.broadcast_to(s.pbc, 3) for s in structures]).reshape(-1, 3),
        charges=[item.charge for item in structures],
        multiplicities=[item.multiplicity for item in structures],
    )
    # Structures without an id keep their place with an empty one.
    return batch, tuple(item.id or "" for item in structures), problems


def json_bounds(settings: Settings) -> JSONBounds:
    """How much a request may hold.

    An atom has a number or symbol and three coordinates in a list of their own; a structure has
    eight fields, four lists for its cell and one for its axes. Names may hold some more.
    """
    atoms, structures = settings.max_atoms, settings.max_structures
    return JSONBounds(
        objects=2 * structures + 1000,
        lists=atoms + 16 * structures + 1000,
        values=4 * atoms + 32 * structures + 1000,
        strings=atoms + 16 * structures + 1000,
    )


def _atomic_numbers(index: int, item: StructureBody) -> list[int]:
    """As they are given, or those of the symbols.

    Raises:
        UnprocessableRequest: if there are neither.
        InvalidStructure: if they are not one for each position, or not those of the symbols.
    """
    given, symbols = item.atomic_numbers, item.symbols
    if given is None and symbols is None:
        raise UnprocessableRequest(
            "no field 'atomic_numbers' and no field 'symbols'",
            expected='"atomic_numbers" such as [8, 1, 1], or "symbols" such as ["O", "H", "H"]',
            action="add one of them",
            code="field_missing",
            structure=index,
        )
    for values, what in ((given, "atomic numbers"), (symbols, "symbols")):
        if values is not None and len(values) != len(item.positions):
            raise _unequal(index, len(values), what, len(item.positions))
    if symbols is None:
        return given or []
    numbers = [elements.atomic_numbers.get(symbol, 0) for symbol in symbols]
    if 0 in numbers:
        raise InvalidStructure(
            f"the symbol {shown(symbols[numbers.index(0)])}",
            expected='symbols of elements such as "O" or "Cl"',
            action="correct the symbol, or give atomic_numbers",
            code="element_unsupported",
            structure=index,
        )
    if given is not None and given != numbers:
        atom = next(
            k for k, pair in enumerate(zip(given, numbers, strict=True)) if len({*pair}) > 1
        )
        raise InvalidStructure(
            f"atom {atom} with atomic number {given[atom]} and symbol {symbols[atom]!r}",
            expected="atomic_numbers and symbols that agree",
            action="give only one of them",
            code="elements_contradictory",
            structure=index,
        )
    return numbers


def _unequal(index: int, received: int, what: str, positions: int) -> InvalidStructure:
    return InvalidStructure(
        f"{received} {what} and {positions} positions",
        expected="one position for each atom",
        action="correct the structure",
        code="shape_mismatch",
        structure=index,
    )
