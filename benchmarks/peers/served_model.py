"""The model that peers serve: the same weights and the same neighbour lists as the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.runtime import LoadedRuntime
from forcegate_service.runtimes.fake import load_fake
from forcegate_service.runtimes.torchscript import TorchScriptRuntime

__all__ = ["Answer", "ServedModel", "Structure", "open_runtime"]

# Atomic numbers [N] and positions [N, 3] in Å.
Structure = tuple[np.ndarray, np.ndarray]
# Energy in eV and forces [N, 3] in eV/Å.
Answer = tuple[float, np.ndarray]


def open_runtime(folder: Path) -> LoadedRuntime:
    """TorchScript with one thread, or the toy if ``folder`` holds one."""
    torch.set_num_threads(1)
    return load_fake(folder) if folder.parent.name == "fake" else TorchScriptRuntime(folder)


class ServedModel:
    """Evaluates structures together."""

    def __init__(self, folder: Path) -> None:
        self._runtime = open_runtime(folder)

    def __call__(self, structures: Sequence[Structure]) -> list[Answer]:
        """Energy and forces of each."""
        n_atoms = [len(numbers) for numbers, _ in structures]
        batch = StructureBatch.from_arrays(
            n_atoms=n_atoms,
            atomic_numbers=np.concatenate([numbers for numbers, _ in structures]),
            positions=np.concatenate([positions for _, positions in structures]),
        )
        output = self._runtime.evaluate(build_graph(batch, self._runtime.card.cutoff))
        forces = np.split(output.forces, np.cumsum(n_atoms)[:-1])
        return list(zip(output.energy.tolist(), forces, strict=True))
