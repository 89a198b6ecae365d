"""The model card: what is known about one immutable version of a model.

Written by the trainer beside ``model.pt``, read by every runtime before any code in the model
file runs.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forcegate_client.checks.card import (
    CARD_NAME,
    ENGINE_NAME,
    MEASURED,
    MODEL_NAME,
    PAIR_CUTOFF,
    USES,
    card_digest,
    content_digest,
    fit_for_something,
)
from forcegate_client.checks.contacts import ShortestDistances
from forcegate_client.checks.plausible import MOST_ENERGY_PER_ATOM, MOST_FORCE
from forcegate_client.structures import StructureBatch
from forcegate_client.writing.atomic import write_atomically
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.force_uncertainty import ForcePartner
from forcegate_service.contract.histograms import TrainingHistograms

__all__ = [
    "CARD_NAME",
    "ENGINE_NAME",
    "MEASURED",
    "MODEL_NAME",
    "USES",
    "VERDICTS",
    "Approval",
    "Digest",
    "Judged",
    "Limits",
    "ModelCard",
    "Reference",
    "content_digest",
    "file_digest",
]

# What earlier releases compiled: cards name it, nobody reads it, and it may be gone.
_RETIRED_NAME = "model.pt2"

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
# What validation decides: the uses, and what a use of some structures needs.
Judged = Literal["md", "relax", "screening", "torsion", "binding", "ions", "periodic"]
VERDICTS: tuple[Judged, ...] = get_args(Judged)

Approval = Literal["approved", "caution", "rejected", "not_validated"]


class Reference(BaseModel):
    """A structure and the model's own answer for it, to recognise the weights by.

    ``positions`` in Å, ``energy`` in eV, ``forces`` in eV/Å.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    atomic_numbers: list[int]
    positions: list[tuple[float, float, float]]
    energy: float
    forces: list[tuple[float, float, float]]
    energy_uncertainty: float

    def batch(self) -> StructureBatch:
        """The reference structure, ready to be evaluated."""
        return StructureBatch.from_arrays(
            n_atoms=[len(self.atomic_numbers)],
            atomic_numbers=self.atomic_numbers,
            positions=np.array(self.positions),
        )


class Limits(BaseModel):
    """What neither a structure nor an answer of this version exceeds if it makes any sense.

    ``energy_per_atom`` (eV) is the largest difference, per atom, between the energy of a structure
    and those of its atoms alone; ``force`` (eV/Å) the largest on an atom; ``minimum_distances`` (Å)
    are those of pairs of elements, such as ``C-Cl``, that the radii of the two are not good for.

    Without a word in the card they are ten times what structures are learned from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    energy_per_atom: Positive = MOST_ENERGY_PER_ATOM
    force: Positive = MOST_FORCE
    minimum_distances: dict[str, Positive] = {}


class ModelCard(BaseModel):
    """Everything that belongs to one version of a model.

    ``cutoff`` and ``minimum_distance`` in Å, the latter of any two atoms; ``elements`` are the
    atomic numbers the model knows; ``files`` maps each file of the version's folder to its digest;
    ``status`` says for which uses (``md``, ``relax``, ``screening``, ``periodic``, and what older
    cards lack: ``torsion``, ``binding`` of molecules, ``ions``) the version was validated;
    ``interface`` says what the model takes and answers: 1 is a graph of edges, 2 a graph with pairs
    too, which end at ``pair_cutoff`` Å where a structure is periodic, and atomic charges in the
    answer; ``histograms`` are what its training set looks like, None on a card from before
    they were counted; ``limits`` bound what can make sense; ``force_partner`` is the version whose
    disagreement tells how wrong forces are, None where none was calibrated.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    version: Annotated[str, Field(pattern=r"^[1-9][0-9]*$")]
    created: str
    code_version: str
    torch_version: str
    units: dict[str, str]
    cutoff: Annotated[float, Field(gt=0)]
    minimum_distance: Annotated[float, Field(gt=0)]
    elements: Annotated[list[int], Field(min_length=1)]
    n_parameters: int
    architecture: dict[str, Any]
    teacher: dict[str, Any]
    dataset: dict[str, Any]
    training: dict[str, Any]
    metrics: dict[str, Any]
    status: dict[str, Approval]
    reference: Reference
    files: dict[str, Digest]
    histograms: TrainingHistograms | None = None
    limits: Limits = Limits()
    interface: Literal[1, 2] = 1
    pair_cutoff: Positive = PAIR_CUTOFF
    force_partner: ForcePartner | None = None

    @property
    def reach(self) -> tuple[float, float | None]:
        """``cutoff`` and ``pair_cutoff`` of the graphs that the model takes; None: no pairs."""
        return self.cutoff, self.pair_cutoff if self.interface == 2 else None

    @property
    def charges(self) -> bool:
        """Whether the model knows of charges: it takes ions, and answers with atomic charges."""
        return self.interface == 2

    @cached_property
    def shortest_distances(self) -> ShortestDistances:
        """How close atoms may come, by pair of elements."""
        return ShortestDistances(
            self.elements, self.minimum_distance, self.limits.minimum_distances
        )

    @property
    def digest(self) -> str:
        """The identity of the weights: the sha256 of ``model.pt``."""
        return self.files[MODEL_NAME]

    @cached_property
    def card_digest(self) -> str:
        """The identity of the version: a sha256 of all that its answers depend on."""
        return card_digest(self.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> ModelCard:
        """Read ``folder/model_card.json`` and check every file it names against its digest.

        Raises:
            ModelRefused: if the card is missing or invalid, or a file is missing or was changed.
        """
        path = folder / CARD_NAME
        try:
            card = cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelRefused(
                f"no {CARD_NAME} in {folder}",
                expected="a version folder written by `forcegate-train export`",
                action="point --model-repository at a model repository",
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise ModelRefused(
                f"{path}: {field}: {first['msg']}",
                expected="a model card of schema 1",
                action="export the model again",
            ) from error
        card.verify(folder)
        return card

    @property
    def fit_for_something(self) -> bool:
        """Whether validation approved the version for any of ``USES``, be it with caution."""
        return fit_for_something(self.status)

    def verify(self, folder: Path) -> None:
        """Compare the files in ``folder`` with the digests of this card.

        Raises:
            ModelRefused: if one is missing or differs.
        """
        if MODEL_NAME not in self.files:
            raise ModelRefused(
                f"a card without a digest of {MODEL_NAME}",
                expected=f"files to name {MODEL_NAME}",
                action="export the model again",
            )
        for name, digest in self.files.items():
            path = folder / name
            if name == _RETIRED_NAME and not path.exists():
                continue
            received = file_digest(path) if path.is_file() else "no such file"
            if received != digest:
                raise _changed(path, received, digest)

    def read(self, folder: Path, name: str = MODEL_NAME) -> bytes:
        """The content of one file of the version, the very bytes whose digest was compared.

        Raises:
            ModelRefused: if they are not what this card describes.
        """
        content = (folder / name).read_bytes()
        received = content_digest(content)
        if received != self.files[name]:
            raise _changed(folder / name, received, self.files[name])
        return content

    def save(self, folder: Path) -> None:
        """Write ``folder/model_card.json``, which is whole at every moment.

        Raises:
            OSError: if it cannot be written.
        """
        write_atomically(folder / CARD_NAME, self.model_dump_json(indent=1).encode() + b"\n")


def _changed(path: Path, received: str, expected: str) -> ModelRefused:
    return ModelRefused(
        f"{path}: {received}",
        expected=expected,
        action="restore the exported file; weights that change get a new version",
    )


def file_digest(path: Path) -> str:
    """``sha256:…`` of a file's content."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
