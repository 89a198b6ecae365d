"""Students in the engine: on this machine's processor, without torch."""

from __future__ import annotations

from pathlib import Path

from forcegate_engine import EngineError, Evaluation, Model
from forcegate_engine.errors import LibraryMissing
from forcegate_service.contract.card import ENGINE_NAME, ModelCard
from forcegate_service.contract.errors import ModelRefused, RuntimeFault
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.size import engine_need
from forcegate_service.contract.structures import Structures

__all__ = ["EngineRuntime"]


class EngineRuntime:
    """One version of a model; its answers are the same bits in every batch, on any threads.

    The interpreter's lock is free while it evaluates.
    """

    concurrency = 1

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Load ``folder`` (one version of a model), to be evaluated by so many threads.

        Raises:
            ModelRefused: if the files do not match the card, or hold no weights of its student.
            LibraryMissing: if the compiled library is not there.
        """
        self.card = card = ModelCard.load(folder)
        # What was checked is what is computed from, even if the file changes in between.
        weights = card.read(folder, ENGINE_NAME)
        try:
            self._model = model = Model(weights)
        except LibraryMissing:
            raise
        except EngineError as error:
            raise _refused(folder, str(error)) from error
        self._threads = threads
        self.memory = engine_need(card.architecture)
        known = (model.interface, model.cutoff, set(model.elements))
        if known != (card.interface, card.cutoff, set(card.elements)):
            raise _refused(folder, "weights with another interface, cutoff or elements")
        if card.charges and model.pair_cutoff != card.pair_cutoff:
            raise _refused(folder, f"weights whose pairs end at {model.pair_cutoff} Å")

    def evaluate(self, structures: Structures) -> ModelOutput:
        """The student's answer for all ``structures``.

        Raises:
            RuntimeFault: if it has none for one of them.
        """
        try:
            answer: Evaluation = self._model.evaluate(
                structures.atomic_numbers,
                structures.positions,
                n_atoms=structures.n_atoms,
                cells=structures.cells,
                pbc=structures.pbc,
                threads=self._threads,
                finite=False,
            )
        except EngineError as error:
            raise RuntimeFault(f"the model failed: {error}") from error
        return ModelOutput(
            answer.energy,
            answer.forces,
            answer.virial,
            answer.energy_uncertainty,
            answer.atom_novelty,
            answer.charges,
        )

    def close(self) -> None:
        """Forget the weights."""
        del self._model


def _refused(folder: Path, received: str) -> ModelRefused:
    return ModelRefused(
        f"{folder / ENGINE_NAME}: {received}",
        expected="the weights of the student that the card describes",
        action="export the model again",
    )
