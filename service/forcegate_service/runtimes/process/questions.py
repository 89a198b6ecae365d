"""What an inference process is asked of a model: to evaluate structures, or to move them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from forcegate_service.contract.motion import Chunk, Moved
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.structures import Structures
from forcegate_service.runtimes.process.channel import Channel
from forcegate_service.runtimes.process.memory import StructureMemory

__all__ = ["Evaluation", "Movement", "Question"]


class Question(Protocol):
    """One of them; ``size`` is the number of structures."""

    @property
    def size(self) -> int: ...

    def send(self, channel: Channel, memory: StructureMemory) -> None:
        """Ask.

        Raises:
            EOFError: if the other side is gone.
        """

    def answer(self, told: Sequence[Any], memory: StructureMemory) -> Any:
        """What was answered, of which ``told`` came by the channel."""


@dataclass(frozen=True)
class Evaluation:
    """``structures`` by a model, with ``charges`` if it knows them; arrays pass by the memory."""

    model: int
    structures: Structures
    charges: bool

    @property
    def size(self) -> int:
        """Structures that are asked about."""
        return len(self.structures.n_atoms)

    def send(self, channel: Channel, memory: StructureMemory) -> None:
        """See ``Question``."""
        structures = self.structures
        capacity = memory.fit(*self._shape)
        inputs, _ = memory.arrays(*self._shape)
        given = (
            *(structures.positions, structures.atomic_numbers, structures.n_atoms),
            *(structures.cells, structures.pbc),
        )
        for place, array in zip(inputs, given, strict=True):
            place[...] = array
        channel.send("evaluate", self.model, *self._shape, capacity)

    def answer(self, told: Sequence[Any], memory: StructureMemory) -> ModelOutput:
        """A copy of the answer, whose place is the next one's."""
        _, outputs = memory.arrays(*self._shape)
        answered = outputs if self.charges else outputs[:-1]
        return ModelOutput(*[array.copy() for array in answered])

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.structures.atomic_numbers), len(self.structures.n_atoms)


@dataclass(frozen=True)
class Movement:
    """The runs of ``chunk`` some steps further, which pass by the channel: they are few, and last
    for as long as a batch.
    """

    model: int
    chunk: Chunk

    @property
    def size(self) -> int:
        """Runs that are moved."""
        return len(self.chunk.n_atoms)

    def send(self, channel: Channel, memory: StructureMemory) -> None:
        """See ``Question``."""
        channel.send("advance", self.model, self.chunk.packed())

    def answer(self, told: Sequence[Any], memory: StructureMemory) -> Moved:
        """See ``Question``."""
        return Moved.unpacked(told[1], self.chunk)
