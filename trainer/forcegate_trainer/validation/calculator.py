"""An ASE calculator over a serving runtime, in process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from forcegate_client.structures import StructureBatch
from forcegate_service.runtime import LoadedRuntime
from forcegate_trainer.dynamics.potential import RuntimePotential

__all__ = ["RuntimeCalculator"]


class RuntimeCalculator(Calculator):  # type: ignore[misc]  # ASE has no type information
    """Energy in eV, forces in eV/Å and charges in e, if the model has them, from ``runtime``."""

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "forces",
        "charges",
    ]

    def __init__(self, runtime: LoadedRuntime) -> None:
        super().__init__()
        self._potential = RuntimePotential(runtime)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluate ``atoms``."""
        super().calculate(atoms, properties, system_changes)
        batch = StructureBatch.from_atoms([self.atoms])
        found = self._potential(batch, np.zeros(1, dtype=np.int64))
        energy = float(found.energies[0])
        self.results = {"energy": energy, "free_energy": energy, "forces": found.forces}
        if found.charges is not None:
            self.results["charges"] = found.charges
