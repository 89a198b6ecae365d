"""A student as ASE's calculator: the one module of the engine that needs ASE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator as ASECalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes

from forcegate_engine.errors import BadArgument
from forcegate_engine.model import Model

__all__ = ["Calculator"]

# ASE's Voigt order: xx, yy, zz, yz, xz, xy.
_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))

_ROUNDING = 0.05


class Calculator(ASECalculator):  # type: ignore[misc]  # ASE has no type information
    """Energy, forces and stress in this process, with charges from students that know them.

    ``model`` is an opened one, or the path of a version's folder or of a weights file. The net
    charge is ``charge``, else ``atoms.info["charge"]``, else the sum of the initial charges; the
    atomic charges must sum to it. ``energy_uncertainty`` (eV) and ``max_novelty`` tell of the last
    structure how far it is to be trusted. ``threads`` at most, 0 for one on each processor.
    """

    implemented_properties: ClassVar[list[str]] = [
        *("energy", "free_energy", "forces", "stress", "charges", "dipole"),
    ]
    energy_uncertainty: float
    max_novelty: float

    def __init__(
        self, model: Model | str | Path, *, charge: int | None = None, threads: int = 0
    ) -> None:
        """Open ``model`` if it is a path.

        Raises:
            WeightsRefused, LibraryMissing: as ``Model.open``.
        """
        super().__init__()
        self.model = model if isinstance(model, Model) else Model.open(model)
        self.charge = charge
        self.threads = threads

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill ``results`` with all that the student knows of ``atoms``.

        Raises:
            EngineError: if the structure cannot be evaluated, or is not the ion it is said to be.
            PropertyNotImplementedError: for what the student does not know of this structure.
        """
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        answer = self.model.evaluate(
            *(atoms.numbers, atoms.positions),
            cells=atoms.cell.array[None],
            pbc=atoms.pbc[None],
            charges=[self._charge_of(atoms)],
            threads=self.threads,
        )
        energy = float(answer.energy[0])
        self.energy_uncertainty = float(answer.energy_uncertainty[0])
        self.max_novelty = float(answer.atom_novelty.max(initial=0.0))
        results: dict[str, Any] = {
            "energy": energy,
            "free_energy": energy,
            "forces": answer.forces,
        }
        if atoms.pbc.all():
            results["stress"] = -answer.virial[0][_VOIGT] / atoms.get_volume()
        if answer.charges is not None:
            results["charges"] = answer.charges
            if not atoms.pbc.any():
                # About the centre of mass, on which an ion's depends.
                offsets = atoms.positions - atoms.get_center_of_mass()
                results["dipole"] = answer.charges @ offsets
        self.results = results
        for name in properties:
            if name not in results:
                raise PropertyNotImplementedError(
                    f"{name} of this structure; the student knows {', '.join(sorted(results))}"
                )

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last structure, the net charge included."""
        changes: list[str] = super().check_state(atoms, tol)
        if not changes and self._charge_of(atoms) != self._charge_of(self.atoms):
            changes.append("initial_charges")
        return changes

    def _charge_of(self, atoms: Atoms) -> float:
        if self.charge is not None:
            return float(self.charge)
        told = atoms.info.get("charge")
        if told is None:
            told = atoms.get_initial_charges().sum()
        try:
            charge = float(told)
        except (TypeError, ValueError) as error:
            raise BadArgument(f"info['charge'] is {told!r}; expected a number") from error
        # Charges of atoms were rounded; those that sum to half an electron mean something else.
        if not abs(charge - np.round(charge)) <= _ROUNDING:
            raise BadArgument(
                f"a net charge of {charge:g}; expected a whole one, as charge=… or info['charge']"
            )
        return float(np.round(charge))
