"""The JSON form of ``POST /v1/predict``: the same request and response, for people and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from pydantic_core import to_json

from forcegate_client.errors import InvalidStructure
from forcegate_client.messages import UNITS, Predictions, PredictRequest, PredictResponse, rows_of
from forcegate_client.structures import StructureBatch
from forcegate_service.json_errors import explain
from forcegate_service.preparation import check_size
from forcegate_service.settings import Settings
from forcegate_service.validation import Problems

__all__ = ["PredictAnswer", "PredictBody", "StructureBody", "read_json", "write_json"]

Vector = tuple[float, float, float]
# What fits the arrays that carry it; whether the model knows it is checked later.
Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]


class StructureBody(BaseModel):
    """One structure: positions and cell in Å, rows of ``cell`` are the lattice vectors."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str | None = None
    atomic_numbers: Annotated[list[Int32], FailFast()]
    positions: Annotated[list[Vector], FailFast()]
    cell: tuple[Vector, Vector, Vector] | None = None
    pbc: bool | tuple[bool, bool, bool] = False
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
    properties: list[str] = Field(
        ["energy", "forces"], description="any of energy, forces, stress, uncertainty"
    )
    on_error: Literal["raise", "partial"] = "raise"
    structures: Annotated[list[StructureBody], FailFast()]


class ResultBody(BaseModel):
    """The prediction for one structure, or the problem it has."""

    id: str | None = None
    energy: float | None = Field(None, description="eV")
    forces: list[Vector] | None = Field(None, description="eV/Å")
    stress: tuple[float, float, float, float, float, float] | None = Field(
        None, description="eV/Å³; xx, yy, zz, yz, xz, xy; positive = tension"
    )
    energy_uncertainty: float | None = Field(None, description="eV, standard deviation")
    max_novelty: float | None = Field(None, description="largest novelty of an atom")
    problem: dict[str, Any] | None = None
    warnings: list[str] = []


class PredictAnswer(BaseModel):
    """Results in the order of the request, and which weights they come from."""

    model: str
    version: str
    digest: str
    units: dict[str, str]
    status: dict[str, str]
    results: list[ResultBody]
    timing: dict[str, float]


def read_json(body: bytes, settings: Settings) -> tuple[PredictRequest, Problems]:
    """Decode ``body``; structures whose lengths disagree come back as problems.

    Raises:
        MalformedBody: if it is not a JSON object.
        UnprocessableRequest: if fields are missing, unknown or of the wrong type.
        PayloadTooLarge: if there are too many atoms or structures.
    """
    try:
        message = PredictBody.model_validate_json(body)
    except ValidationError as error:
        raise explain(error) from None
    structures = message.structures
    check_size(len(structures), sum(len(item.atomic_numbers) for item in structures), settings)
    problems = {
        index: _unequal(index, item)
        for index, item in enumerate(structures)
        if len(item.atomic_numbers) != len(item.positions)
    }
    # A structure with a problem keeps its place with no atoms.
    sound = [item for index, item in enumerate(structures) if index not in problems]
    positions = list(chain.from_iterable(item.positions for item in sound))
    request = PredictRequest(
        structures=StructureBatch.from_arrays(
            n_atoms=np.array(
                [0 if b in problems else len(s.positions) for b, s in enumerate(structures)],
                dtype=np.int64,
            ),
            atomic_numbers=list(chain.from_iterable(item.atomic_numbers for item in sound)),
            positions=np.array(positions, dtype=np.float64).reshape(-1, 3),
            cells=np.array([item.cell or np.zeros((3, 3)) for item in structures]).reshape(
                -1, 3, 3
            ),
            pbc=np.array([np.broadcast_to(s.pbc, 3) for s in structures]).reshape(-1, 3),
            charges=[item.charge for item in structures],
            multiplicities=[item.multiplicity for item in structures],
        ),
        model=message.model,
        version=message.version,
        properties=tuple(message.properties),
        on_error=message.on_error,
        # Structures without an id keep their place with an empty one.
        ids=tuple(item.id or "" for item in structures),
    )
    return request, problems


def write_json(response: PredictResponse, ids: Sequence[str] | None) -> bytes:
    """The JSON body of ``response``."""
    message = {
        "model": response.model,
        "version": response.version,
        "digest": response.digest,
        "units": UNITS,
        "status": response.status,
        "results": _results(response.predictions, ids),
        "timing": response.timing,
    }
    return to_json(message)


def _results(predictions: Predictions, ids: Sequence[str] | None) -> list[dict[str, Any]]:
    size = len(predictions.index) + len(predictions.problems)
    results: list[dict[str, Any]] = [{"id": ids[b] or None if ids else None} for b in range(size)]
    index = predictions.index.tolist()
    for name in ("energy", "stress", "energy_uncertainty", "max_novelty"):
        values = getattr(predictions, name)
        if values is not None:
            for b, value in zip(index, values.tolist(), strict=True):
                results[b][name] = value
    if predictions.forces is not None:
        for b, rows in zip(index, rows_of(predictions.n_atoms.tolist()), strict=True):
            results[b]["forces"] = predictions.forces[rows].tolist()
    for b, problem in predictions.problems.items():
        results[b]["problem"] = problem
    for b, result in enumerate(results):
        result["warnings"] = predictions.warnings.get(b, [])
    return results


def _unequal(index: int, item: StructureBody) -> InvalidStructure:
    return InvalidStructure(
        f"{len(item.atomic_numbers)} atomic numbers and {len(item.positions)} positions",
        expected="one position for each atomic number",
        action="correct the structure",
        code="shape_mismatch",
        structure=index,
    )
