"""The same rounding for a structure whatever else is in its batch."""

from __future__ import annotations

import os
from collections.abc import Mapping

__all__ = ["round_alike_in_every_batch", "rounding_alike"]

_SETTINGS = {"MKL_CBWR": "AUTO,STRICT"}


def round_alike_in_every_batch() -> None:
    """Ask the matrix library for results that do not depend on the number of rows.

    It otherwise chooses another kernel for another size, and a structure's forces differ in the
    sixth digit with whoever happens to be computed beside it: trajectories could not be repeated.
    Measured at 21 and 16 × 21 atoms, this costs nothing that stands out of the noise. Call it
    before the first matrix product of the process; a value that is set already is kept.
    """
    os.environ.update(rounding_alike(os.environ))


def rounding_alike(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` for a process that is to round so; what is set in it already stays."""
    return _SETTINGS | dict(environment)
