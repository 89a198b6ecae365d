"""``POST /v1/hessian``: the second derivatives at one structure, by one batch of predictions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from forcegate_client.errors import (
    ForcegateError,
    InvalidStructure,
    PayloadTooLarge,
    UnprocessableRequest,
)
from forcegate_client.images.displacements import DISPLACEMENT_A, displaced, hessian_from
from forcegate_client.messages import PredictRequest
from forcegate_client.wire import decode_response, encode_request
from forcegate_service.contract.json_body import read_object, shown
from forcegate_service.models.registry import Registry
from forcegate_service.predict.json_request import StructureBody, Vector, json_bounds, request_of
from forcegate_service.settings import Settings

__all__ = ["HessianAnswer", "HessianBody", "HessianQuestion"]

# Below, rounding of the forces is larger than what they change by; above, the next order is.
_SMALLEST_A, _LARGEST_A = 1e-4, 0.1


class HessianBody(BaseModel):
    """What is asked: the second derivatives at one structure, by one model."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "model": "painn_base",
                    "structure": {
                        "atomic_numbers": [8, 1, 1],
                        "positions": [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]],
                    },
                }
            ]
        },
    )

    model: str
    version: str | None = None
    structure: StructureBody
    displacement: Annotated[float, Field(ge=_SMALLEST_A, le=_LARGEST_A)] = Field(
        DISPLACEMENT_A, description="Å, by which each coordinate is moved back and forth"
    )


class HessianAnswer(BaseModel):
    """Second derivatives of N atoms, and which weights they come from."""

    model: str
    version: str
    digest: str
    card_digest: str
    status: dict[str, str]
    units: dict[str, str]
    energy: float = Field(description="eV")
    forces: list[Vector] = Field(description="eV/Å")
    hessian: list[list[float]] = Field(description="eV/Å², 3N rows of 3N, symmetric")
    dipole_derivatives: list[Vector] | None = Field(
        description="e, 3N rows; null without charges and of periodic structures"
    )
    displacement: float = Field(description="Å")
    asymmetry: float = Field(description="eV/Å², by how much halves differed at most before")
    max_novelty: float | None
    warnings: list[str]


@dataclass(frozen=True)
class HessianQuestion:
    """A request as it is to be evaluated: all displaced structures."""

    request: PredictRequest
    displacement: float

    @classmethod
    def read(cls, body: bytes, settings: Settings, models: Registry) -> HessianQuestion:
        """What ``body`` asks.

        Raises:
            MalformedBody, UnprocessableRequest: if it is no such question.
            PayloadTooLarge: if the displaced structures are more than one request may hold.
            ModelNotFound: if there is no such model.
        """
        document = read_object(body, json_bounds(settings))
        by = _displacement(document.pop("displacement", DISPLACEMENT_A))
        unknown = sorted(document.keys() - {"model", "version", "structure"})
        if unknown or "structure" not in document:
            raise UnprocessableRequest(
                f"unknown field {shown(unknown[0])}" if unknown else "no field 'structure'",
                expected="the fields model, version, structure, displacement",
                action="compare the request with the documented fields",
                code="field_unknown" if unknown else "field_missing",
            )
        asked = document | {"structures": [document.pop("structure")]}
        asked.pop("structure", None)
        request, problems = request_of(asked, settings)
        for problem in problems.values():
            raise problem
        structure = request.structures
        _check_size(structure.total_atoms, settings)
        properties = ["energy", "forces", "uncertainty"]
        charged = models.find(request.model, request.version).card.charges
        if charged and not structure.pbc.any():
            properties.append("dipole")
        batch = displaced(structure, by)
        return cls(PredictRequest(batch, request.model, request.version, (*properties,)), by)

    def encoded(self) -> bytes:
        """The request for predictions."""
        return encode_request(self.request)

    def answer(self, predictions: bytes) -> bytes:
        """The JSON document that follows from the encoded answer to ``encoded``."""
        return to_json(hessian_from(decode_response(predictions), self.displacement).to_dict())

    @staticmethod
    def blamed(error: ForcegateError) -> ForcegateError:
        """``error`` of whichever displaced structure, as that of the one that was asked about."""
        if error.structure is not None:
            error.structure = 0
        return error


def _displacement(given: Any) -> float:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not _SMALLEST_A <= given <= _LARGEST_A:
        raise UnprocessableRequest(
            f"displacement: {shown(given)}",
            expected=f"a number of Å from {_SMALLEST_A} to {_LARGEST_A}",
            action=f"leave it out for {DISPLACEMENT_A}",
            code="value_out_of_range" if number else "type_mismatch",
        )
    return float(given)


def _check_size(atoms: int, settings: Settings) -> None:
    """6N + 1 structures of N atoms are one request.

    Raises:
        InvalidStructure: if there are no atoms.
        PayloadTooLarge: saying how many atoms there may be.
    """
    if not atoms:
        raise InvalidStructure(
            "no atoms",
            expected="at least one",
            action="send a structure with atoms",
            code="no_atoms",
            structure=0,
        )
    most = min(
        (settings.max_structures - 1) // 6,
        int((math.sqrt(1.0 + 24.0 * settings.max_atoms) - 1.0) / 12.0),
    )
    if atoms > most:
        raise PayloadTooLarge(
            f"a structure of {atoms} atoms, which are {6 * atoms + 1} structures when displaced",
            expected=f"at most {most} atoms",
            action="ask POST /v1/predict about the displaced structures, some at a time",
            code="too_many_atoms",
        )
