"""What is counted of structures: once over the training set, and ever after over what is served.

Trainer and gateway count with this one implementation, and the gateway in the very bins that the
card holds, so that two distributions which are compared were made in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "FEATURES",
    "Bins",
    "FeatureHistogram",
    "Features",
    "TrainingHistograms",
    "training_bins",
]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]


class Features(NamedTuple):
    """What is watched of ``B`` structures, and of ``n`` of their atoms.

    ``elements`` [n], the atomic numbers; ``atoms`` [B], how many a structure has;
    ``nearest_neighbour`` [n] in Å, infinite for an atom without any within the cutoff;
    ``energy_uncertainty`` [B] in eV per atom; ``max_novelty`` [B], the largest of an atom.
    """

    elements: Int
    atoms: Int
    nearest_neighbour: Float
    energy_uncertainty: Float
    max_novelty: Float


FEATURES = Features._fields

# Beyond every cutoff: the bin above it holds the atoms without a neighbour, and no others.
_BEYOND_A = 100.0
_ATOMS = (2, 3, 5, 9, 13, 17, 21, 25, 29, 33, 41, 49, 65, 97, 129, 257, 513, 1025)
# Fine where bonds are: 0.96 Å is O-H, 1.09 Å C-H, 1.2 to 1.5 Å what holds heavy atoms together.
_NEAREST_A = (
    *(0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35, 1.4, 1.45, 1.5),
    *(1.6, 1.7, 1.8, 2.0, 2.2, 2.5, 3.0, _BEYOND_A),
)
# Six a decade from 0.1 meV to 1 eV, and four for each doubling from a quarter to sixteen.
_UNCERTAINTY_EV_PER_ATOM = tuple(float(f"{10 ** (k / 6 - 4):.4g}") for k in range(25))
_NOVELTY = tuple(float(f"{0.25 * 2 ** (k / 4):.4g}") for k in range(25))


def training_bins(elements: Sequence[int]) -> Bins:
    """The bins in which a training set of these elements (atomic numbers) is counted."""
    return Bins(
        {
            # An element begins a bin; no other can come, because the model knows no other.
            "elements": sorted(elements)[1:],
            "atoms": _ATOMS,
            "nearest_neighbour": _NEAREST_A,
            "energy_uncertainty": _UNCERTAINTY_EV_PER_ATOM,
            "max_novelty": _NOVELTY,
        }
    )


class Bins:
    """The bins of all features, one after the other in one vector of counts.

    ``edges`` are the inner ones: K edges make K + 1 bins, of which the first has no lower and the
    last no upper end. A value on an edge belongs to the bin above it. ``of`` tells where in the
    vector the bins of a feature are; ``size`` is its length.
    """

    def __init__(self, edges: Mapping[str, Sequence[float]]) -> None:
        self.edges = {name: np.array(edges[name], dtype=np.float64) for name in FEATURES}
        ends = np.cumsum([len(inner) + 1 for inner in self.edges.values()]).tolist()
        self.of = {
            name: slice(start, stop)
            for name, (start, stop) in zip(FEATURES, pairwise([0, *ends]), strict=True)
        }
        self.size: int = ends[-1]

    def count(self, features: Features) -> Int:
        """[size]; how many values lie in each bin."""
        counts = np.empty(self.size, dtype=np.int64)
        parts = zip(features, self.edges.values(), self.of.values(), strict=True)
        for values, inner, where in parts:
            bins = np.searchsorted(inner, values, side="right")
            counts[where] = np.bincount(bins, minlength=len(inner) + 1)
        return counts


class FeatureHistogram(BaseModel):
    """Counts of one feature; K inner ``edges`` and K + 1 ``counts``, see ``Bins``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    edges: list[Annotated[float, Field(allow_inf_nan=False)]]
    counts: list[Annotated[int, Field(ge=0)]]

    @model_validator(mode="after")
    def _refuse_what_does_not_fit(self) -> Self:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(
                f"{len(self.counts)} counts and {len(self.edges)} edges; expected one count more"
            )
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("edges that do not ascend; expected each above the one before")
        if not sum(self.counts):
            raise ValueError("counts that are all zero; expected those of some frames")
        return self


class TrainingHistograms(BaseModel):
    """What the training split looks like to its model.

    ``structures`` frames were counted, drawn with ``seed`` from ``training_frames``;
    ``max_novelty_99`` and ``max_novelty_999`` are the novelties that 99 % and 99.9 % of them stay
    below; ``features`` has a histogram for each of ``FEATURES``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    structures: Annotated[int, Field(gt=0)]
    training_frames: Annotated[int, Field(gt=0)]
    seed: int
    max_novelty_99: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_novelty_999: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    features: dict[str, FeatureHistogram]

    @model_validator(mode="after")
    def _refuse_other_features(self) -> Self:
        if set(self.features) != set(FEATURES):
            raise ValueError(
                f"histograms of {', '.join(sorted(self.features)) or 'nothing'}; expected "
                f"{', '.join(FEATURES)}: run `forcegate-train export-histograms` again"
            )
        return self

    @classmethod
    def of(cls, bins: Bins, counts: Int, novelty: Float, frames: int, seed: int) -> Self:
        """From ``counts`` in ``bins`` and the ``novelty`` of each structure that was counted."""
        return cls(
            structures=len(novelty),
            training_frames=frames,
            seed=seed,
            max_novelty_99=float(np.quantile(novelty, 0.99)),
            max_novelty_999=float(np.quantile(novelty, 0.999)),
            features={
                name: FeatureHistogram(
                    edges=bins.edges[name].tolist(), counts=counts[bins.of[name]].tolist()
                )
                for name in FEATURES
            },
        )

    def bins(self) -> Bins:
        """The bins of these counts."""
        return Bins({name: histogram.edges for name, histogram in self.features.items()})

    def counts(self) -> Int:
        """All counts as one vector, as ``bins`` lays them out."""
        return np.concatenate([np.array(self.features[name].counts) for name in FEATURES])
