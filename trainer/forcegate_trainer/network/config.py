"""The shape of a student, as stored in its checkpoint and card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from forcegate_service.contract.neighbors.pairs import PAIR_CUTOFF

__all__ = ["CHARGED_PRESETS", "PRESETS", "PaiNNConfig"]

# H C N O F S Cl
_ORGANIC = (1, 6, 7, 8, 9, 16, 17)
# H B C N O F Si P S Cl Br I
_TWELVE = (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 35, 53)


@dataclass(frozen=True)
class PaiNNConfig:
    """Width, depth and range of a PaiNN.

    ``width`` features per atom, ``depth`` interactions, ``n_radial`` Bessel functions, ``cutoff``
    in Å, ``elements`` the atomic numbers that can be embedded; ``charges``: the readout gives
    atomic charges too, and pairs at all distances act on each other.
    """

    width: int
    depth: int
    n_radial: int = 20
    cutoff: float = 5.0
    elements: tuple[int, ...] = _ORGANIC
    charges: bool = False

    @classmethod
    def from_stored(cls, shape: Mapping[str, Any]) -> PaiNNConfig:
        """What ``asdict`` gave, as JSON has it; ``KeyError`` or ``TypeError`` if it is not that."""
        return cls(**{**shape, "elements": tuple(shape["elements"])})

    @property
    def reach(self) -> tuple[float, float | None]:
        """``cutoff`` and pair cutoff (Å) of the graphs that it takes; None: no pairs."""
        return self.cutoff, PAIR_CUTOFF if self.charges else None

    @property
    def readout_width(self) -> int:
        """Features per atom that enter the last linear layer."""
        return self.width // 2


PRESETS = {
    "painn_base": PaiNNConfig(width=112, depth=3),
    "painn_compact": PaiNNConfig(width=78, depth=3),
    "painn_tiny": PaiNNConfig(width=46, depth=3),
    # Twenty radial functions would cost it more than they do its weights: their share of the work
    # does not shrink with the width. With twelve it can be as wide as three vectors of eight.
    "painn_ultra_tiny": PaiNNConfig(width=24, depth=3, n_radial=12),
}

# With charges, for twelve elements; the smallest pays for its embeddings with a radial function.
CHARGED_PRESETS = {
    name: replace(
        preset, elements=_TWELVE, charges=True, n_radial=11 if preset.n_radial < 20 else 20
    )
    for name, preset in PRESETS.items()
}
