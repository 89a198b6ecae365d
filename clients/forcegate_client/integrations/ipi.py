"""i-PI: a driver for ``<ffdirect>``, which sends all beads in one batch.

``<pes>custom</pes>`` with ``pes_path`` being this file, whose place ``driver_path()`` tells.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.io import read

from forcegate_client.errors import InvalidStructure
from forcegate_client.integrations.calculators import calculator_for

__all__ = ["ForcegateDriver", "driver_path"]

__DRIVER_NAME__ = "forcegate"
__DRIVER_CLASS__ = "ForcegateDriver"

Answer = tuple[float, Any, Any, str]


def driver_path() -> str:
    """Where this file is, for ``<pes_path>``."""
    return str(Path(__file__).resolve())


class ForcegateDriver:
    """Energies, forces and virials in atomic units, as i-PI asks drivers for them.

    ``template`` is a file that ASE reads: elements, order, charge (``info``) and which axes are
    periodic. ``model``, ``version``, ``url`` and ``local`` say what computes.
    """

    def __init__(
        self,
        template: str,
        model: str = "painn_base",
        version: str | None = None,
        url: str | None = None,
        local: bool | str = False,
        verbose: bool = False,
        **options: Any,
    ) -> None:
        """Read the template.

        Raises:
            InvalidStructure: if a parameter is not known, or the template has constraints.
            ForcegateError: what the calculator raises.
        """
        if unknown := sorted(options.keys() - {"verbosity"}):
            raise InvalidStructure(
                f"parameter {unknown[0]!r} of the driver",
                expected="template, model, version, url and local",
                code="option_unknown",
            )
        self.template: Atoms = read(template)
        if self.template.constraints:
            raise InvalidStructure(
                f"{len(self.template.constraints)} constraints in {template}",
                expected="none: i-PI holds atoms itself",
                action="name them under <fixatoms> in i-PI's input",
                code="constraint_unsupported",
            )
        self.calculator = calculator_for(
            model, None if version is None else str(version), url=url, local=local
        )

    def __call__(self, cell: Any, positions: Any) -> Any:
        """Of one structure, or of a list of them in one batch; columns of ``cell`` are vectors."""
        if not isinstance(cell, list):
            return self._computed([cell], [positions])[0]
        return self._computed(cell, positions)

    def _computed(self, cells: list[Any], positions: list[Any]) -> list[Answer]:
        beads = []
        for cell, where in zip(cells, positions, strict=True):
            atoms = self.template.copy()
            atoms.positions = np.reshape(where, (-1, 3)) * units.Bohr
            # i-PI always has a cell; it means nothing to a molecule in open space.
            atoms.cell = np.asarray(cell).T * units.Bohr * self.template.pbc[:, None]
            beads.append(atoms)
        return [
            self._answer(atoms, results)
            for atoms, results in zip(beads, self.calculator.get_forces_batch(beads), strict=True)
        ]

    def _answer(self, atoms: Atoms, results: dict[str, Any]) -> Answer:
        virial = np.zeros((3, 3))
        extras: dict[str, Any] = {"digest": self.calculator.digest}
        if "stress" in results:
            virial = -results["stress"][[[0, 5, 4], [5, 1, 3], [4, 3, 2]]] * atoms.get_volume()
        elif not atoms.pbc.any():
            arms = atoms.positions - atoms.positions.mean(axis=0)
            virial = arms.T @ results["forces"]
        else:
            raise InvalidStructure(
                f"a template with pbc {atoms.pbc.tolist()}",
                expected="all three axes periodic, or none",
                code="periodicity_unsupported",
            )
        return (
            results["energy"] / units.Hartree,
            results["forces"] * (units.Bohr / units.Hartree),
            virial / units.Hartree,
            json.dumps(extras),
        )
