"""An exported student at work: opened as the gateway opens it, for many structures or for ASE."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.runtime import LoadedRuntime
from forcegate_service.contract.structures import of_batch
from forcegate_service.runtimes.fake import load_fake
from forcegate_service.runtimes.here import open_here
from forcegate_trainer.simulation.potential import Evaluation

__all__ = ["RuntimeCalculator", "RuntimePotential", "opened", "serving"]

Int = npt.NDArray[np.int64]

logger = logging.getLogger(__name__)


@contextmanager
def serving(folder: Path) -> Iterator[LoadedRuntime]:
    """The version in ``folder``, in this process and on one thread.

    Where the engine cannot evaluate it TorchScript answers, with a warning.

    Raises:
        ModelRefused: if the files do not match the card.
    """
    runtime, reason = open_here(folder)
    if reason:
        logger.warning("%s: TorchScript answers: %s", folder, reason)
    try:
        yield runtime
    finally:
        runtime.close()


@cache
def opened(folder: Path) -> LoadedRuntime:
    """The version in ``folder``, opened once in each process and closed when that ends.

    Raises:
        ModelRefused: if the files do not match the card.
    """
    if ModelCard.load(folder).architecture.get("kind") == "fake":
        # The toy has no weights.
        return load_fake(folder)
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(serving(folder))


class RuntimePotential:
    """An exported student in one of the service's runtimes."""

    def __init__(self, runtime: LoadedRuntime) -> None:
        self._runtime = runtime

    def __call__(self, batch: StructureBatch, members: Int) -> Evaluation:
        """Evaluate all structures together."""
        output = self._runtime.evaluate(of_batch(batch))
        novelty = np.maximum.reduceat(output.atom_novelty, batch.offsets[:-1])
        return Evaluation(
            output.energy, output.forces, novelty, output.charges, output.energy_uncertainty
        )


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
