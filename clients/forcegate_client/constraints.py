"""Which coordinates of a structure its constraints hold, where only that is understood.

ASE's constraints bring half of scipy, which a gateway never needs: they are imported at need.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.errors import InvalidStructure

__all__ = ["fixed_atoms", "held_coordinates", "hold"]

Bool = npt.NDArray[np.bool_]


def held_coordinates(atoms: Atoms) -> Bool:
    """[N, 3]; which coordinates stay as they are.

    Raises:
        InvalidStructure: if a constraint is anything but ``FixAtoms`` or ``FixCartesian``.
    """
    from ase.constraints import FixAtoms, FixCartesian

    held = np.zeros((len(atoms), 3), dtype=np.bool_)
    for constraint in atoms.constraints:
        # A subclass may do more than hold coordinates.
        if type(constraint) not in (FixAtoms, FixCartesian):
            raise InvalidStructure(
                f"a constraint {type(constraint).__name__}",
                expected="none but FixAtoms and FixCartesian, where structures move in a batch",
                action="relax it alone: forcegate relax --optimizer lbfgs, or ASE and a "
                "RemoteCalculator",
                code="constraint_unsupported",
            )
        mask = constraint.mask if type(constraint) is FixCartesian else True
        held[constraint.get_indices()] |= mask
    return held


def fixed_atoms(atoms: Atoms) -> Bool:
    """[N]; which atoms stay as they are.

    Raises:
        InvalidStructure: if a constraint holds anything but whole atoms.
    """
    from ase.constraints import FixAtoms

    fixed = np.zeros(len(atoms), dtype=np.bool_)
    for constraint in atoms.constraints:
        if type(constraint) is not FixAtoms:
            raise InvalidStructure(
                f"a constraint {type(constraint).__name__}",
                expected="none but FixAtoms, where a server moves the atoms",
                action="use ASE's dynamics or optimizer with a RemoteCalculator",
                code="constraint_unsupported",
            )
        fixed[constraint.get_indices()] = True
    return fixed


def hold(atoms: Atoms, held: Bool) -> None:
    """Constrain ``atoms`` so that the coordinates ``held`` [N, 3] stay as they are."""
    from ase.constraints import FixAtoms, FixCartesian

    whole = held.all(axis=1)
    found = [FixAtoms(mask=whole)] if whole.any() else []
    found += [FixCartesian(i, held[i]) for i in np.flatnonzero(held.any(axis=1) & ~whole).tolist()]
    atoms.set_constraint(found)
