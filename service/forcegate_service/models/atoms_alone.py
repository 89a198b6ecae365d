"""What a model answers for single atoms: what the energy of a structure is compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.runtime import LoadedRuntime
from forcegate_service.contract.structures import of_batch
from forcegate_service.queue.isolate import evaluate_isolated

__all__ = ["atomic_energies"]

Float = npt.NDArray[np.float64]


def atomic_energies(runtime: LoadedRuntime) -> Float:
    """[Z + 1] in eV: what the model answers for each of its elements alone, 0 for all others.

    NaN where it fails: of structures with such an atom only the forces are judged.
    """
    card = runtime.card
    size = len(card.elements)
    alone = StructureBatch.from_arrays([1] * size, card.elements, np.zeros((size, 3)))
    energies = np.zeros(max(card.elements) + 1)
    output, _ = evaluate_isolated(runtime, of_batch(alone))
    energies[card.elements] = output.energy
    return energies
