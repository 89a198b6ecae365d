"""The shape of a student, as stored in its checkpoint and card."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PRESETS", "PaiNNConfig"]

# H C N O F S Cl
_ORGANIC = (1, 6, 7, 8, 9, 16, 17)


@dataclass(frozen=True)
class PaiNNConfig:
    """Width, depth and range of a PaiNN.

    ``width`` features per atom, ``depth`` interactions, ``n_radial`` Bessel functions, ``cutoff``
    in Å, ``elements`` the atomic numbers that can be embedded.
    """

    width: int
    depth: int
    n_radial: int = 20
    cutoff: float = 5.0
    elements: tuple[int, ...] = _ORGANIC

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
