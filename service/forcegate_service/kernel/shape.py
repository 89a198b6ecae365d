"""Which students the kernel can evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["KernelShape"]


@dataclass(frozen=True)
class KernelShape:
    """A PaiNN that the kernel can evaluate, as a model card describes it.

    ``width`` features per atom, ``depth`` interactions, ``n_radial`` Bessel functions, ``cutoff``
    in Å, ``elements`` the atomic numbers in the order of the embedding.
    """

    width: int
    depth: int
    n_radial: int
    cutoff: float
    elements: tuple[int, ...]

    @classmethod
    def of(cls, architecture: Mapping[str, Any]) -> KernelShape | None:
        """The shape that a card's ``architecture`` names, or none if it is no such PaiNN."""
        shape = dict(architecture)
        # The kernel knows no pairs beyond the cutoff.
        if shape.pop("charges", False) or set(shape) != {field.name for field in fields(cls)}:
            return None
        return cls(**{**shape, "elements": tuple(shape["elements"])})

    @property
    def readout_width(self) -> int:
        """Features per atom that enter the last linear layer."""
        return self.width // 2
