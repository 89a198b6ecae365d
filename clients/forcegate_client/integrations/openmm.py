"""OpenMM: the entry point ``forcegate`` of ``openmmml.potentials``, on ``openmm.PythonForce``.

``MLPotential("forcegate", model="painn_base", url=…)`` and ``createSystem(topology)``.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np
from ase import Atoms, units

from forcegate_client.errors import InvalidStructure
from forcegate_client.extras import needing
from forcegate_client.http.calculator import ModelCalculator
from forcegate_client.integrations.calculators import calculator_for

__all__ = ["ForcegatePotential", "ForcegatePotentialFactory"]

_KJ_PER_MOL = units.kJ / units.mol
_A_PER_NM = 10.0


class ForcegatePotentialFactory:
    """What OpenMM-ML makes of an entry point."""

    def createImpl(self, name: str, **options: Any) -> ForcegatePotential:  # noqa: N802
        """``options`` are those of ``MLPotential(name, …)``: model, version, url, local, …

        Raises:
            ForcegateError: what ``calculator_for`` raises.
        """
        return ForcegatePotential(calculator_for(**options))


class ForcegatePotential:
    """Energies and forces of all atoms of a topology, or of some of them."""

    def __init__(self, calculator: ModelCalculator) -> None:
        self.calculator = calculator

    def addForces(  # noqa: N802
        self,
        topology: Any,
        system: Any,
        atoms: Iterable[int] | None,
        forceGroup: int,
        *,
        charge: int = 0,
        multiplicity: int = 1,
        **options: Any,
    ) -> None:
        """Add the force of ``atoms`` (all if ``None``) to ``system``.

        ``charge`` and ``multiplicity`` are those of ``createSystem(topology, charge=…)``.
        Constraints and virtual sites of OpenMM are its own, and hold what they hold.

        Raises:
            InvalidStructure: if an atom has no element, or an option is not known.
        """
        with needing("openmm", "OpenMM"):
            import openmm
        if options:
            raise InvalidStructure(
                f"option {min(options)!r} of createSystem",
                expected="charge and multiplicity",
                action="leave it out; the model is named in MLPotential(…)",
                code="option_unknown",
            )
        chosen = list(topology.atoms())
        included = None if atoms is None else [int(index) for index in atoms]
        if included is not None:
            chosen = [chosen[index] for index in included]
        if unnamed := [atom.index for atom in chosen if atom.element is None]:
            raise InvalidStructure(
                f"atom {unnamed[0]} of the topology without an element",
                expected="an element for each atom that the model computes",
                code="element_unsupported",
            )
        periodic = topology.getPeriodicBoxVectors() is not None
        computed = Atoms(
            numbers=[atom.element.atomic_number for atom in chosen],
            pbc=periodic,
            info={"charge": charge, "multiplicity": multiplicity},
        )
        force = openmm.PythonForce(_Computation(self.calculator, computed))
        force.setForceGroup(forceGroup)
        force.setUsesPeriodicBoundaryConditions(periodic)
        if included is not None:
            force.setParticles(included)
        system.addForce(force)


class _Computation:
    """What OpenMM calls at each step."""

    def __init__(self, calculator: ModelCalculator, atoms: Atoms) -> None:
        self._atoms = atoms
        self._atoms.calc = calculator

    def __call__(self, state: Any) -> tuple[float, np.ndarray[Any, Any]]:
        """Energy in kJ/mol and forces in kJ/mol/nm of a ``State`` of OpenMM."""
        from openmm import unit

        positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        if self._atoms.pbc.any():
            box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
            self._atoms.set_cell(box)
        self._atoms.positions = np.asarray(positions, dtype=np.float64)
        forces = self._atoms.get_forces()
        energy = self._atoms.get_potential_energy()
        return energy / _KJ_PER_MOL, forces * (_A_PER_NM / _KJ_PER_MOL)

    def __reduce__(self) -> Any:
        # OpenMM writes a System to XML by pickling this; who reads it would have to trust it.
        raise pickle.PicklingError("a force of forcegate is not written to XML; add it again")
