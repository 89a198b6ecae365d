"""The card of one version, as far as local use depends on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from forcegate_client.checks.card import (
    CARD_NAME,
    DEFAULTS,
    MODEL_NAME,
    card_digest,
    fit_for_something,
)
from forcegate_client.checks.contacts import ShortestDistances
from forcegate_client.errors import ModelRefused

__all__ = ["Limits", "LocalCard", "Partner"]


@dataclass(frozen=True)
class Limits:
    """What an answer does not exceed (eV per atom, eV/Å), and how close atoms may come (Å)."""

    energy_per_atom: float
    force: float
    minimum_distances: Mapping[str, float]


@dataclass(frozen=True)
class Partner:
    """The version whose disagreement tells how wrong forces are, and what it stands for.

    ``digest`` is that of its weights.
    """

    name: str
    version: str
    digest: str
    scale: float
    floor: float


@dataclass(frozen=True)
class LocalCard:
    """What is checked and told of a version; ``document`` is all of its card.

    ``cutoff`` and ``minimum_distance`` in Å; ``charges``: whether it knows ions.
    """

    name: str
    version: str
    elements: tuple[int, ...]
    cutoff: float
    minimum_distance: float
    charges: bool
    digest: str
    status: Mapping[str, str]
    limits: Limits
    partner: Partner | None
    document: Mapping[str, Any] = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> LocalCard:
        """Read the card in the folder of a version.

        Raises:
            ModelRefused: if it is missing or cannot be understood.
        """
        path = folder / CARD_NAME
        try:
            document = json.loads(path.read_bytes())
            return cls._of(document)
        except OSError as error:
            raise ModelRefused(
                f"{path}: {error.strerror}",
                expected="a version folder written by `forcegate-train export`",
                action="name the folder of a version, or a repository of such folders",
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelRefused(
                f"{path} ({type(error).__name__}: {error})",
                expected="a model card of schema 1",
                action="export the model again",
            ) from error

    @classmethod
    def _of(cls, document: dict[str, Any]) -> LocalCard:
        said = DEFAULTS | document
        if said["schema_version"] != 1 or said["interface"] not in (1, 2):
            raise ValueError(
                f"schema {said['schema_version']!r}, interface {said['interface']!r}: this release "
                "reads schema 1, interfaces 1 and 2"
            )
        limits = DEFAULTS["limits"] | said["limits"]
        partner = said["force_partner"]
        return cls(
            name=str(said["name"]),
            version=str(said["version"]),
            elements=tuple(int(number) for number in said["elements"]),
            cutoff=float(said["cutoff"]),
            minimum_distance=float(said["minimum_distance"]),
            charges=said["interface"] == 2,
            digest=str(said["files"][MODEL_NAME]),
            status={str(use): str(verdict) for use, verdict in said["status"].items()},
            limits=Limits(
                float(limits["energy_per_atom"]),
                float(limits["force"]),
                dict(limits["minimum_distances"]),
            ),
            partner=None if partner is None else Partner(**partner),
            document=document,
        )

    @property
    def fit_for_something(self) -> bool:
        """Whether validation approved the version for any use, be it with caution."""
        return fit_for_something(self.status)

    @cached_property
    def card_digest(self) -> str:
        """The identity of the version, as the gateway tells it."""
        return card_digest(self.document)

    @cached_property
    def shortest_distances(self) -> ShortestDistances:
        """How close atoms may come, by pair of elements."""
        return ShortestDistances(
            list(self.elements), self.minimum_distance, self.limits.minimum_distances
        )
