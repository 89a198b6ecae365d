"""The body of ``POST /v1/md/reports``: what a run of molecular dynamics says of itself."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from forcegate_client.errors import UnprocessableRequest
from forcegate_client.md.blow_up import BlowUp
from forcegate_service.contract.json_body import JSONBounds, read_object, shown

__all__ = ["EnsembleName", "MDReportBody", "read_report"]

EnsembleName = Literal["nve", "nvt", "npt", "other"]

# Its few bytes bound it well enough.
_BOUNDS = JSONBounds(objects=4096, lists=4096, values=4096, strings=4096)
_MOST = 1e6
Energy = Annotated[float, Field(ge=-_MOST, le=_MOST, allow_inf_nan=False)]
Size = Annotated[float, Field(ge=0.0, le=_MOST, allow_inf_nan=False)]

_CODES = {
    "extra_forbidden": "field_unknown",
    "missing": "field_missing",
    "contradiction": "report_contradictory",
}
# What pydantic calls a value of the right type that is not one of those allowed.
_OUT_OF_RANGE = frozenset(
    (
        *("literal_error", "string_pattern_mismatch", "string_too_long", "string_too_short"),
        *("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"),
        *("int_parsing_size", "string_unicode"),
    )
)


class MDReportBody(BaseModel):
    """Totals of a run so far; a field is null where the figure is not known."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "run": "0123456789abcdef0123456789abcdef",
                    "sequence": 3,
                    "model": "painn_base",
                    "version": "1",
                    "digest": "sha256:" + 64 * "0",
                    "ensemble": "nve",
                    "timestep_fs": 0.5,
                    "n_atoms": 21,
                    "duration_ps": 12.5,
                    "target_temperature_k": 300.0,
                    "mean_temperature_k": 296.1,
                    "temperature_sigma_k": 39.7,
                    "drift_mev_per_atom_per_ps": -0.0012,
                    "drift_standard_error_mev_per_atom_per_ps": 0.0009,
                    "final": False,
                    "blow_up": None,
                }
            ]
        },
    )

    run: str = Field(
        pattern=r"^[0-9a-f]{32}$", description="a random number of the client's, 128 bits in hex"
    )
    sequence: int = Field(ge=0, lt=2**31, description="0, 1, 2, … within the run")
    model: str = Field(min_length=1, max_length=100, description="the name of a served model")
    version: str = Field(pattern=r"^[1-9][0-9]{0,8}$", description='a version such as "1"')
    digest: str = Field(
        pattern=r"^sha256:[0-9a-f]{64}$", description="the weights that answered, sha256:…"
    )
    ensemble: EnsembleName = Field(description="what the equations of motion hold constant")
    timestep_fs: float = Field(gt=0.0, le=1000.0, allow_inf_nan=False)
    n_atoms: int = Field(ge=1, le=10_000_000)
    duration_ps: float = Field(ge=0.0, le=1e9, allow_inf_nan=False, description="so far")
    target_temperature_k: Size | None = Field(description="null if nobody set one")
    mean_temperature_k: Size | None = Field(description="of the second half of the run so far")
    temperature_sigma_k: Size | None = Field(
        description="by how much a temperature is expected to fluctuate about the target"
    )
    drift_mev_per_atom_per_ps: Energy | None = Field(
        description="slope of the conserved energy; null if nothing is conserved"
    )
    drift_standard_error_mev_per_atom_per_ps: Size | None
    final: bool = Field(description="whether the run is over")
    blow_up: BlowUp | None = Field(description="why the run left physics, if it did")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        pairs = (
            (self.drift_mev_per_atom_per_ps, self.drift_standard_error_mev_per_atom_per_ps),
            (self.target_temperature_k, self.temperature_sigma_k),
        )
        if any((one is None) != (other is None) for one, other in pairs):
            raise PydanticCustomError(
                "contradiction", "a drift without its error, or a target without its fluctuation"
            )
        if self.ensemble == "other" and self.drift_mev_per_atom_per_ps is not None:
            raise PydanticCustomError(
                "contradiction", "a drift under an integrator of which nothing is known"
            )
        return self


def read_report(body: bytes) -> MDReportBody:
    """Decode ``body``.

    Raises:
        MalformedBody: if it is not a JSON object.
        UnprocessableRequest: if a field is missing, unknown or not what it should be.
    """
    document = read_object(body, _BOUNDS)
    try:
        return MDReportBody.model_validate(document)
    except ValidationError as error:
        raise _explain(error.errors(include_url=False, include_context=False)[0]) from None


def _explain(first: ErrorDetails) -> UnprocessableRequest:
    kind, place = first["type"], first["loc"]
    help_: dict[str, Any] = {"action": "see /docs for the fields of a report"}
    if kind == "contradiction":
        return UnprocessableRequest(
            first["msg"],
            expected="both figures or neither, and no drift under another ensemble",
            code="report_contradictory",
            **help_,
        )
    name = str(place[0])
    # An integer that is longer than any double is read as infinity.
    too_long = isinstance(first["input"], float) and math.isinf(first["input"])
    out_of_range = kind in _OUT_OF_RANGE or too_long
    code = _CODES.get(kind) or ("value_out_of_range" if out_of_range else "type_mismatch")
    if code == "field_missing":
        received, expected = f"no field {name!r}", f"the fields {', '.join(_names())}"
    elif code == "field_unknown":
        received, expected = f"unknown field {shown(name)}", f"the fields {', '.join(_names())}"
    else:
        received, expected = f"{name}: {shown(first['input'])}", first["msg"].lower()
    return UnprocessableRequest(received, expected=expected, code=code, **help_)


def _names() -> list[str]:
    return list(MDReportBody.model_fields)
