"""What is asked of a server and what it answers, whatever the form on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import StructureBatch

__all__ = [
    "COLUMNS_OF",
    "DEFAULT_MODEL",
    "PER_ATOM",
    "PER_STRUCTURE",
    "PROPERTIES",
    "UNITS",
    "OnError",
    "PredictRequest",
    "PredictResponse",
    "Predictions",
    "rows_of",
    "units_with",
]

PROPERTIES = (
    *("energy", "forces", "stress", "uncertainty", "charges", "dipole", "force_uncertainty"),
)
COLUMNS_OF = {
    "energy": ("energy",),
    "forces": ("forces",),
    "stress": ("stress",),
    "uncertainty": ("energy_uncertainty", "max_novelty"),
    "charges": ("charges", "net_charge"),
    "dipole": ("dipole",),
    "force_uncertainty": ("force_uncertainty",),
}
"""The columns of ``Predictions`` that each property is answered with."""
PER_STRUCTURE = {
    "energy": 1,
    "stress": 6,
    "energy_uncertainty": 1,
    "max_novelty": 1,
    "net_charge": 1,
    "dipole": 3,
}
"""The columns of ``Predictions`` with a row for each structure, and how many numbers it has."""
PER_ATOM = {"forces": 3, "charges": 1, "force_uncertainty": 1}
"""Those with a row for each atom."""
# A server answers to this name with the model of its choice, and says which it is.
DEFAULT_MODEL = "default"
UNITS = {
    "energy": "eV",
    "forces": "eV/Å",
    "stress": "eV/Å³",
    "energy_uncertainty": "eV",
    "max_novelty": "1",
    "charges": "e",
    "net_charge": "e",
    "dipole": "e·Å",
    "force_uncertainty": "eV/Å",
}
# Units that clients of before do not know are told only with a number that has them.
_TOLD_IF_THERE = frozenset({"charges", "net_charge", "dipole", "force_uncertainty"})
_UNITS_OF_BEFORE = {name: unit for name, unit in UNITS.items() if name not in _TOLD_IF_THERE}

OnError = Literal["raise", "partial"]
Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PredictRequest:
    """What is asked: which model, which properties, of which structures.

    ``remarks`` are what whoever read the structures has to say of them, by index. They are not
    sent; a server that reads a file itself adds them to the warnings of its answer.
    """

    structures: StructureBatch
    model: str
    version: str | None = None
    properties: tuple[str, ...] = ("energy", "forces")
    on_error: OnError = "raise"
    ids: tuple[str, ...] | None = None
    remarks: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Predictions:
    """The answers for the K structures that could be computed.

    ``index`` [K] and ``n_atoms`` [K] say which they are; ``energy`` [K] in eV, ``forces`` [ΣN, 3]
    in eV/Å, ``stress`` [K, 6] in eV/Å³, ``energy_uncertainty`` [K] in eV, ``max_novelty`` [K],
    ``charges`` [ΣN] of atoms in e and their sum ``net_charge`` [K], ``dipole`` [K, 3] in e·Å about
    the centre of mass, ``force_uncertainty`` [ΣN] in eV/Å, the standard deviation of a component of
    an atom's force.
    What was not asked for is ``None``. ``problems`` holds a problem document for each structure
    that failed, ``warnings`` the remarks on those that did not, both keyed by structure index.
    """

    index: Int
    n_atoms: Int
    energy: Float | None = None
    forces: Float | None = None
    stress: Float | None = None
    energy_uncertainty: Float | None = None
    max_novelty: Float | None = None
    charges: Float | None = None
    net_charge: Float | None = None
    dipole: Float | None = None
    force_uncertainty: Float | None = None
    problems: dict[int, dict[str, Any]] = field(default_factory=dict)
    warnings: dict[int, list[str]] = field(default_factory=dict)

    @property
    def units(self) -> dict[str, str]:
        """What an answer says of its numbers."""
        return units_with([name for name in _TOLD_IF_THERE if getattr(self, name) is not None])


@dataclass(frozen=True)
class PredictResponse:
    """Predictions, and what they come from.

    ``digest`` is that of the weights; ``card_digest`` that of everything an answer depends on:
    weights, cutoff, elements, limits. It is empty from a server that is too old to tell.
    """

    model: str
    version: str
    digest: str
    status: dict[str, str]
    predictions: Predictions
    timing: dict[str, float] = field(default_factory=dict)
    card_digest: str = ""

    def comes_from(self, digest: str | None, card_digest: str = "") -> bool:
        """Whether these weights and that card answered; what is not known agrees with all."""
        same_card = not card_digest or not self.card_digest or self.card_digest == card_digest
        return same_card and digest in (None, self.digest)

    @property
    def origin(self) -> str:
        """Model, version and digests, to be told to people."""
        card = f" and card {self.card_digest}" if self.card_digest else ""
        return f"{self.model} {self.version} with digest {self.digest}{card}"


def units_with(columns: Iterable[str]) -> dict[str, str]:
    """The units that an answer with these columns must tell; those of before always."""
    told = [name for name in columns if name in _TOLD_IF_THERE]
    return _UNITS_OF_BEFORE | {name: unit for name, unit in UNITS.items() if name in told}


def rows_of(counts: Sequence[int]) -> list[slice]:
    """The slice of a per-atom array that belongs to each structure."""
    ends = np.cumsum(counts).tolist()
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
