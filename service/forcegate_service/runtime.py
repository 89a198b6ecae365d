"""What every inference runtime offers: a flat graph in, plain numpy arrays out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from forcegate_service.card import ModelCard
from forcegate_service.graph import Graph

__all__ = ["OUTPUT_NAMES", "LoadedRuntime", "ModelOutput", "Runtime", "RuntimeLoader"]

Float = npt.NDArray[np.float64]


class ModelOutput(NamedTuple):
    """What an exported model answers, all float64.

    ``energy`` [B] in eV; ``forces`` [N, 3] in eV/Å; ``virial`` [B, 3, 3] in eV;
    ``energy_uncertainty`` [B] in eV (standard deviation); ``atom_novelty`` [N].
    """

    energy: Float
    forces: Float
    virial: Float
    energy_uncertainty: Float
    atom_novelty: Float


OUTPUT_NAMES = ModelOutput._fields


class Runtime(Protocol):
    """Evaluates graphs, one at a time."""

    def evaluate(self, graph: Graph) -> ModelOutput:
        """The model's answer for all structures of ``graph``.

        Raises:
            RuntimeFault: if the model failed on it.
            RuntimeUnavailable: if nobody is there to evaluate anything.
        """

    def close(self) -> None:
        """Give back what the runtime holds."""


class LoadedRuntime(Runtime, Protocol):
    """A runtime that holds one version of a model and its card."""

    card: ModelCard

    @property
    def concurrency(self) -> int:
        """Batches that it evaluates at the same time; if it is 1, always on one thread."""


# Opens the folder of one version; called on the thread that will evaluate it.
RuntimeLoader = Callable[[Path], LoadedRuntime]
