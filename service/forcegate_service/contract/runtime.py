"""What every inference runtime offers: structures in, plain numpy arrays out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.motion import Moved
from forcegate_service.contract.size import MemoryNeed
from forcegate_service.contract.structures import Structures

__all__ = [
    "OUTPUT_NAMES",
    "Done",
    "LoadedRuntime",
    "ModelOutput",
    "Runtime",
    "RuntimeLoader",
    "Start",
]

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


class ModelOutput(NamedTuple):
    """What an exported model answers, all float64.

    ``energy`` [B] in eV; ``forces`` [N, 3] in eV/Å; ``virial`` [B, 3, 3] in eV;
    ``energy_uncertainty`` [B] in eV (standard deviation); ``atom_novelty`` [N]; ``charges`` [N] in
    e, None from models of interface 1.
    """

    energy: Float
    forces: Float
    virial: Float
    energy_uncertainty: Float
    atom_novelty: Float
    charges: Float | None = None

    @property
    def columns(self) -> dict[str, Float]:
        """Those that there are, by name."""
        named = zip(OUTPUT_NAMES, self, strict=True)
        return {name: column for name, column in named if column is not None}

    def part(self, structures: slice | Bool, atoms: slice | Bool) -> ModelOutput:
        """The rows of ``structures`` and of their ``atoms``."""
        return ModelOutput(
            energy=self.energy[structures],
            forces=self.forces[atoms],
            virial=self.virial[structures],
            energy_uncertainty=self.energy_uncertainty[structures],
            atom_novelty=self.atom_novelty[atoms],
            charges=None if self.charges is None else self.charges[atoms],
        )

    @staticmethod
    def joined(outputs: Sequence[ModelOutput]) -> ModelOutput:
        """All rows of ``outputs``, at least one, which are of one model."""
        if len(outputs) == 1:
            return outputs[0]
        first, *others = (output.columns for output in outputs)
        return ModelOutput(
            **{
                name: np.concatenate([column, *(other[name] for other in others)])
                for name, column in first.items()
            }
        )


OUTPUT_NAMES = ModelOutput._fields
"""In the order in which models answer; the last from those of interface 2 alone."""


Done = Callable[[ModelOutput | Moved | Exception, float], None]
"""Takes an answer, or what ``evaluate`` would have raised, and the seconds that it was computed."""

Start = Callable[[Structures, Done], bool]
"""What a runtime may have beside ``evaluate``: ``start`` lets the running event loop call ``done``
with the outcome, and no thread waits. False, and nothing happens, if that cannot be at this moment:
``evaluate`` waits until it can.
"""


class Runtime(Protocol):
    """Evaluates structures, one batch at a time."""

    def evaluate(self, structures: Structures) -> ModelOutput:
        """The model's answer for all of ``structures``.

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

    @property
    def memory(self) -> MemoryNeed:
        """What the code that evaluates now takes."""


# Opens the folder of one version; called on the thread that will evaluate it.
RuntimeLoader = Callable[[Path], LoadedRuntime]
