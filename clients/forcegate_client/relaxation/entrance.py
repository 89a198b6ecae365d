"""Which structures may be relaxed in a batch, and which of their coordinates may change."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.constraints import held_coordinates
from forcegate_client.electrons import electrons_of
from forcegate_client.errors import InvalidStructure

__all__ = ["admitted"]

Bool = npt.NDArray[np.bool_]


def admitted(atoms: Atoms) -> Bool:
    """[N, 3]; which coordinates are held where they are.

    Raises:
        InvalidStructure: if there are no atoms, a position is not finite, charge or spin cannot be
            read, or a constraint holds anything but coordinates.
    """
    electrons_of(atoms)
    if len(atoms) == 0:
        raise InvalidStructure("no atoms", expected="at least one", code="no_atoms")
    if not np.isfinite(atoms.positions).all():
        raise InvalidStructure(
            "positions that are not finite",
            expected="a number of Å for each coordinate",
            code="positions_not_finite",
        )
    return held_coordinates(atoms)
