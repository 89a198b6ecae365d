"""Which structures may be relaxed in a batch, and which of their atoms may move."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.constraints import FixAtoms

from forcegate_client.electrons import electrons_of
from forcegate_client.errors import InvalidStructure

__all__ = ["fixed_atoms"]

Bool = npt.NDArray[np.bool_]


def fixed_atoms(atoms: Atoms) -> Bool:
    """[N]; which atoms are held where they are.

    Raises:
        InvalidStructure: if there are no atoms, a position is not finite, charge or spin cannot be
            read, or a constraint is anything but ``FixAtoms``.
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
    fixed = np.zeros(len(atoms), dtype=np.bool_)
    for constraint in atoms.constraints:
        # A subclass may do more than hold atoms.
        if type(constraint) is not FixAtoms:
            raise InvalidStructure(
                f"a constraint {type(constraint).__name__}",
                expected="none but FixAtoms in a batched relaxation",
                action="relax it alone with ASE and a RemoteCalculator",
                code="constraint_unsupported",
            )
        fixed[constraint.get_indices()] = True
    return fixed
