"""LAMMPS: ``attach(lmp, …)`` has ``fix external`` of a running instance compute by a model.

Any LAMMPS with its Python module will do: the fix is part of its core. One process alone: a model
needs all atoms at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.lammps import convert
from ase.data import atomic_numbers

from forcegate_client.errors import InvalidStructure
from forcegate_client.http.calculator import ModelCalculator

__all__ = ["Attached", "attach"]

logger = logging.getLogger("forcegate")

# With another unit of energy or length than these, ASE would not know the factor.
_STYLES = frozenset({"metal", "real", "si", "cgs", "electron"})
# xx, yy, zz, xy, xz, yz of LAMMPS in ASE's order of a stress.
_VOIGT = [0, 1, 2, 5, 4, 3]


def attach(
    lmp: Any,
    calculator: ModelCalculator,
    elements: Mapping[int, str],
    *,
    fix: str = "forcegate",
    charge: int = 0,
    multiplicity: int = 1,
) -> Attached:
    """Add ``calculator``'s energy, forces and, of what is periodic, virial to all atoms of ``lmp``.

    ``lmp`` is a ``lammps.lammps`` with a box and atoms; ``elements`` names the element of each
    atom type. The box may change from step to step. Other forces, ``fix shake`` and such stay
    LAMMPS's own. An error of the model is logged and ends the run, with forces that are no numbers;
    ``command`` of what is returned raises it, which ``lmp.command`` cannot.

    Raises:
        InvalidStructure: if there are several ranks, units without a scale, a box with walls and
            periodicity that change, or a type without an element.
    """
    if (ranks := int(lmp.extract_setting("world_size"))) > 1:
        raise InvalidStructure(
            f"LAMMPS on {ranks} ranks",
            expected="one: the model needs all atoms in one process, and threads them itself",
            action="start it without mpirun",
            code="ranks_unsupported",
        )
    style = str(lmp.extract_global("units"))
    if style not in _STYLES:
        raise InvalidStructure(
            f"units {style}",
            expected=f"one of {', '.join(sorted(_STYLES))}",
            action="start the input with: units metal",
            code="units_unsupported",
        )
    unknown = [
        kind for kind in range(1, int(lmp.extract_global("ntypes")) + 1) if kind not in elements
    ]
    if unknown or (strange := sorted(set(elements.values()) - atomic_numbers.keys())):
        raise InvalidStructure(
            f"atom type {unknown[0]} without an element" if unknown else f"element {strange[0]!r}",
            expected="an element for each atom type, such as {1: 'H', 2: 'O'}",
            code="element_unsupported",
        )
    lmp.command(f"fix {fix} all external pf/callback 1 1")
    lmp.command(f"fix_modify {fix} energy yes virial yes")
    step = Attached(lmp, calculator, elements, fix, style, (charge, multiplicity))
    lmp.set_fix_external_callback(fix, step, None)
    return step


class Attached:
    """What LAMMPS calls when it wants forces; ``error`` is what ended its last run."""

    def __init__(
        self,
        lmp: Any,
        calculator: ModelCalculator,
        elements: Mapping[int, str],
        fix: str,
        style: str,
        electrons: tuple[int, int],
    ) -> None:
        self._lmp, self._calculator, self._fix = lmp, calculator, fix
        self.error: Exception | None = None
        self._numbers = np.array([0] + [atomic_numbers[elements[k]] for k in sorted(elements)])
        self._convert: Callable[[Any, str], Any] = lambda value, quantity: convert(
            value, quantity, style, "ASE"
        )
        self._back: Callable[[Any, str], Any] = lambda value, quantity: convert(
            value, quantity, "ASE", style
        )
        self._info = {"charge": electrons[0], "multiplicity": electrons[1]}
        self._atoms: Atoms | None = None

    def command(self, line: str) -> None:
        """Have LAMMPS do ``line``, such as ``run 1000``.

        Raises:
            ForcegateError: what the model raised meanwhile, at which the run has ended.
        """
        self.error = None
        failed: Exception | None = None
        try:
            self._lmp.command(line)
        except Exception as error:
            failed = error
        # LAMMPS trips over what the model failed at.
        if (found := self.error or failed) is not None:
            raise found

    def __call__(
        self, caller: Any, step: int, local: int, tags: Any, positions: Any, forces: Any
    ) -> None:
        """Write ``forces``, and tell energy and virial; what fails ends the run."""
        try:
            self._compute(local, tags, positions, forces)
        except Exception as error:
            # An exception cannot pass through LAMMPS, which would go on with no forces at all.
            self.error = self.error or error
            logger.error("step %d of LAMMPS: %s", step, error)
            forces[:local] = np.nan
            self._lmp.lib.lammps_force_timeout(self._lmp.lmp)

    def _compute(self, local: int, tags: Any, positions: Any, forces: Any) -> None:
        # By their tags: LAMMPS sorts its atoms anew, and a calculator remembers their order.
        order = np.argsort(tags[:local])
        atoms = self._atoms_of(order, local)
        cell, pbc = self._box()
        atoms.set_cell(cell)
        atoms.pbc = pbc
        atoms.positions = self._convert(np.array(positions[:local][order]), "distance")
        forces[:local][order] = self._back(atoms.get_forces(), "force")
        self._lmp.fix_external_set_energy_global(
            self._fix, float(self._back(atoms.get_potential_energy(), "energy"))
        )
        if atoms.pbc.all():
            virial = -atoms.get_stress()[_VOIGT] * atoms.get_volume()
            self._lmp.fix_external_set_virial_global(self._fix, self._back(virial, "energy"))
        else:
            self._lmp.fix_external_set_virial_global(self._fix, self._open(atoms))

    def _open(self, atoms: Atoms) -> Any:
        """Σ r ⊗ F, which is the virial of a molecule in open space; none where a side is open."""
        if atoms.pbc.any():
            return np.full(6, np.nan)
        arms, forces = atoms.positions - atoms.positions.mean(axis=0), atoms.get_forces()
        whole = arms.T @ forces
        virial = [whole[0, 0], whole[1, 1], whole[2, 2], whole[0, 1], whole[0, 2], whole[1, 2]]
        return self._back(np.array(virial), "energy")

    def _atoms_of(self, order: Any, local: int) -> Atoms:
        kinds = self._lmp.numpy.extract_atom("type")[:local][order]
        numbers = self._numbers[kinds]
        if self._atoms is None or not np.array_equal(self._atoms.numbers, numbers):
            self._atoms = Atoms(numbers=numbers, info=dict(self._info))
            self._atoms.calc = self._calculator
        return self._atoms

    def _box(self) -> tuple[Any, list[bool]]:
        low, high, xy, yz, xz, periodic, _ = self._lmp.extract_box()
        sides = np.subtract(high, low)
        cell = np.array([[sides[0], 0, 0], [xy, sides[1], 0], [xz, yz, sides[2]]])
        pbc = [bool(axis) for axis in periodic]
        # A cell of what is not periodic means nothing to a model.
        return self._convert(cell, "distance") * np.array(pbc)[:, None], pbc
