"""The JSON form of an answer to ``POST /v1/predict``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field
from pydantic_core import to_json

from forcegate_client.messages import (
    PER_ATOM,
    PER_STRUCTURE,
    Predictions,
    PredictResponse,
    rows_of,
)
from forcegate_service.predict.json_request import Vector

__all__ = ["PredictAnswer", "write_json"]


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
    charges: list[float] | None = Field(None, description="e, of each atom")
    net_charge: float | None = Field(None, description="e, the sum of charges")
    force_uncertainty: list[float] | None = Field(
        None, description="eV/Å, of each atom; standard deviation of a component of its force"
    )
    dipole: Vector | None = Field(None, description="e·Å, about the centre of mass")
    problem: dict[str, Any] | None = None
    warnings: list[str] = []


class PredictAnswer(BaseModel):
    """Results in the order of the request, and which weights they come from."""

    model: str
    version: str
    digest: str
    card_digest: str
    units: dict[str, str]
    status: dict[str, str]
    results: list[ResultBody]
    timing: dict[str, float]


def write_json(response: PredictResponse, ids: Sequence[str] | None) -> bytes:
    """The JSON body of ``response``."""
    message = {
        "model": response.model,
        "version": response.version,
        "digest": response.digest,
        "card_digest": response.card_digest,
        "units": response.predictions.units,
        "status": response.status,
        "results": _results(response.predictions, ids),
        "timing": response.timing,
    }
    return to_json(message)


def _results(predictions: Predictions, ids: Sequence[str] | None) -> list[dict[str, Any]]:
    size = len(predictions.index) + len(predictions.problems)
    results: list[dict[str, Any]] = [{"id": ids[b] or None if ids else None} for b in range(size)]
    index = predictions.index.tolist()
    for name in PER_STRUCTURE:
        values = getattr(predictions, name)
        if values is not None:
            for b, value in zip(index, values.tolist(), strict=True):
                results[b][name] = value
    for name in PER_ATOM:
        values = getattr(predictions, name)
        if values is not None:
            for b, rows in zip(index, rows_of(predictions.n_atoms.tolist()), strict=True):
                results[b][name] = values[rows].tolist()
    for b, problem in predictions.problems.items():
        results[b]["problem"] = problem
    for b, result in enumerate(results):
        result["warnings"] = predictions.warnings.get(b, [])
    return results
