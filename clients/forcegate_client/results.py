"""Results on ASE structures: those of earlier work go before new ones come.

File formats keep results in ``atoms.info`` and ``atoms.arrays``, and readers take them from there.
What a structure brings from earlier work would stand beside a new result, or in its place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

__all__ = ["forget_results", "with_results"]

_OWN = frozenset({"energy_uncertainty", "max_novelty"})
_OWN_PREFIX = "forcegate_"


def forget_results(atoms: Atoms) -> None:
    """Take from ``atoms`` all that a calculation has left there: its own, and those of others.

    That are the names of ASE's properties (``energy``, ``free_energy``, ``forces``, ``stress``,
    ``charges``, …) and of what the commands write, in ``info`` and ``arrays``, and a calculator
    that can only repeat what it was given.
    """
    for name in [name for name in atoms.info if _is_result(name)]:
        del atoms.info[name]
    for name in [name for name in atoms.arrays if _is_result(name)]:
        del atoms.arrays[name]
    if isinstance(atoms.calc, SinglePointCalculator):
        atoms.calc = None


def with_results(
    atoms: Atoms,
    energy: float,
    forces: npt.NDArray[np.float64],
    **more: npt.NDArray[np.float64] | None,
) -> Atoms:
    """A copy of ``atoms`` with these results (eV, eV/Å) and no others.

    ``more`` are ASE's ``stress`` (eV/Å³), ``charges`` (e) and ``dipole`` (e·Å), where known.

    The energy is the free energy as well: the models have no electronic entropy.
    """
    found: dict[str, Any] = {"energy": float(energy), "free_energy": float(energy)}
    found["forces"] = np.array(forces)
    found |= {name: np.array(value) for name, value in more.items() if value is not None}
    copy = atoms.copy()
    forget_results(copy)
    copy.calc = SinglePointCalculator(copy, **found)
    return copy


def _is_result(name: Any) -> bool:
    return isinstance(name, str) and (
        name in all_properties or name in _OWN or name.startswith(_OWN_PREFIX)
    )
