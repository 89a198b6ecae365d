"""What ``forcegate-train shadow`` reports: how far a student is from its teacher, by structure."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forcegate_client.errors import UnprocessableRequest
from forcegate_service.contract.json_body import JSONBounds, read_object

__all__ = [
    "MOST_RESULTS",
    "SKIP_REASONS",
    "LabelledStructure",
    "ShadowReceipt",
    "ShadowResults",
    "SkipReason",
    "SkippedStructure",
    "read_results",
]

# More than a file of the spool holds.
MOST_RESULTS = 256
# Sums over an atom's three components stay below: 10⁶ eV/Å each is beyond every teacher.
_LARGEST_FORCE = 1e6
_LARGEST_ENERGY_EV = 1e9
_MOST_ATOMS = 100_000

SkipReason = Literal[
    "scf_not_converged",
    "teacher_failed",
    "not_finite",
    "gap_too_small",
    "spread_too_large",
    "force_too_large",
    "killed_the_teacher",
]
SKIP_REASONS: tuple[SkipReason, ...] = get_args(SkipReason)

Identity = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LabelledStructure(_Strict):
    """Sums over the 3n components of (student − teacher): |ΔF| in eV/Å, ΔF² in (eV/Å)²; the
    energies' difference in eV.
    """

    id: Identity
    n_atoms: Annotated[int, Field(ge=1, le=_MOST_ATOMS)]
    force_absolute_sum: Annotated[
        float, Field(ge=0, le=3 * _MOST_ATOMS * _LARGEST_FORCE, allow_inf_nan=False)
    ]
    force_squared_sum: Annotated[
        float, Field(ge=0, le=3 * _MOST_ATOMS * _LARGEST_FORCE**2, allow_inf_nan=False)
    ]
    energy_error_ev: Annotated[
        float, Field(ge=-_LARGEST_ENERGY_EV, le=_LARGEST_ENERGY_EV, allow_inf_nan=False)
    ]

    @property
    def consistent(self) -> bool:
        """Whether there can be components with these sums."""
        absolute, squared = self.force_absolute_sum, self.force_squared_sum
        # Σ|x|² ≤ (Σ|x|)² ≤ 3n Σ|x|², but for rounding.
        room = 1e-6 * squared + 1e-12
        return squared <= absolute**2 + room and absolute**2 <= 3 * self.n_atoms * squared + room

    @property
    def force_rmse(self) -> float:
        """In eV/Å, over components."""
        return float((self.force_squared_sum / (3 * self.n_atoms)) ** 0.5)


class SkippedStructure(_Strict):
    """A structure for which there is no answer of the teacher to compare with."""

    id: Identity
    reason: SkipReason


class ShadowResults(_Strict):
    """The results of a file of the spool."""

    results: Annotated[list[LabelledStructure], Field(max_length=MOST_RESULTS)] = []
    skipped: Annotated[list[SkippedStructure], Field(max_length=MOST_RESULTS)] = []


class ShadowReceipt(BaseModel):
    """How many results counted; ``refused`` are those of structures that are not waited for."""

    accepted: int = 0
    refused: int = 0


# A result has five fields.
_BOUNDS = JSONBounds(
    objects=4 * MOST_RESULTS, lists=16, values=32 * MOST_RESULTS, strings=32 * MOST_RESULTS
)
_CODES = {
    "extra_forbidden": "field_unknown",
    "missing": "field_missing",
    "too_long": "shape_mismatch",
}


def read_results(body: bytes) -> ShadowResults:
    """The results in a JSON body.

    Raises:
        MalformedBody: if it is no JSON object.
        PayloadTooLarge: if it holds more values than results have.
        UnprocessableRequest: if a field is missing, unknown, of another type or out of bounds.
    """
    document = read_object(body, _BOUNDS)
    try:
        return ShadowResults.model_validate(document)
    except ValidationError as error:
        raise _explained(error) from error


def _explained(error: ValidationError) -> UnprocessableRequest:
    first = error.errors(include_url=False, include_context=False)[0]
    expected = "results as `forcegate-train shadow` of this release sends them"
    place = ".".join(str(part)[:40] for part in first["loc"])
    return UnprocessableRequest(
        f"{place}: {first['msg']}",
        expected=expected,
        action="see /docs for the fields; let gateway and trainer be of one release",
        code=_CODES.get(first["type"], "type_mismatch"),
    )
