"""An ASE calculator over a serving runtime, in process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from forcegate_client.structures import StructureBatch
from forcegate_service.graph import build_graph
from forcegate_service.runtime import Runtime

__all__ = ["RuntimeCalculator"]


class RuntimeCalculator(Calculator):  # type: ignore[misc]  # ASE has no type information
    """Energy in eV and forces in eV/Å from ``runtime``, whose model has this ``cutoff`` in Å."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]

    def __init__(self, runtime: Runtime, cutoff: float) -> None:
        super().__init__()
        self._runtime = runtime
        self._cutoff = cutoff

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluate ``atoms``."""
        super().calculate(atoms, properties, system_changes)
        graph = build_graph(StructureBatch.from_atoms([self.atoms]), self._cutoff)
        output = self._runtime.evaluate(graph)
        energy = float(output.energy[0])
        self.results = {"energy": energy, "free_energy": energy, "forces": output.forces}
