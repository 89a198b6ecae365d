"""What is measured: presets with random weights and stored models, in the engine as served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.flop_counter import FlopCounterMode

from forcegate_bench.report.timing import Local
from forcegate_bench.subjects.structures import Shaken
from forcegate_client.structures import StructureBatch
from forcegate_engine import Model as EngineModel
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.neighbors.pairs import PAIR_CUTOFF
from forcegate_trainer.export.engine_weights import engine_weights
from forcegate_trainer.network.config import CHARGED_PRESETS, PRESETS, PaiNNConfig
from forcegate_trainer.network.potential import Potential
from forcegate_trainer.network.student import student

__all__ = ["Inputs", "Model", "flops", "inputs_of", "potential_of", "preset_weights"]

Inputs = tuple[torch.Tensor, ...]
Float = npt.NDArray[np.float64]


def potential_of(config: PaiNNConfig, seed: int = 0) -> Potential:
    """A student without charges and with random weights: its cost does not depend on them."""
    torch.manual_seed(seed)
    return Potential(config).eval()


def inputs_of(batch: StructureBatch, cutoff: float) -> Inputs:
    """The six tensors that a student in torch takes, neighbour list included."""
    return tuple(torch.from_numpy(array) for array in build_graph(batch, cutoff).arrays())


def flops(potential: Potential, inputs: Inputs) -> int:
    """Floating-point operations of all matrix products, energies and forces.

    Counted on the plain form of the module. What is no matrix product (the sums over edges, the
    radial functions) is not counted, so that the limit is lower than any implementation can reach.
    """
    with FlopCounterMode(display=False) as counter:
        potential(*inputs)
    return int(counter.get_total_flops())


def preset_weights(name: str, charges: bool = True) -> bytes:
    """Random weights of a preset for the engine; the published students have charges."""
    config = (CHARGED_PRESETS if charges else PRESETS)[name]
    torch.manual_seed(0)
    return engine_weights(student(config).eval(), config, PAIR_CUTOFF)


@dataclass(frozen=True)
class Model:
    """``answer`` gives energies [B] in eV and forces [N, 3] in eV/Å, neighbour lists and all, on as
    many threads as torch has; ``cutoff`` in Å.
    """

    name: str
    cutoff: float
    answer: Callable[[StructureBatch], tuple[Float, Float]]

    @staticmethod
    @cache
    def preset(name: str, charges: bool = True) -> Model:
        """A preset with random weights."""
        weights = preset_weights(name, charges)
        return Model(name, PRESETS[name].cutoff, _answering(EngineModel(weights)))

    @staticmethod
    def stored(folder: Path) -> Model:
        """A version of the model repository."""
        card = ModelCard.load(folder)
        answer = _answering(EngineModel.open(folder))
        return Model(f"{card.name}/{card.version}", card.cutoff, answer)

    def evaluation(self, shaken: Shaken) -> Local:
        """Energies and forces of fresh positions."""
        return Local(shaken.next_batch, self.answer)


def _answering(model: EngineModel) -> Callable[[StructureBatch], tuple[Float, Float]]:
    threads = torch.get_num_threads()

    def answer(batch: StructureBatch) -> tuple[Float, Float]:
        found = model.evaluate(
            batch.atomic_numbers,
            batch.positions,
            n_atoms=batch.n_atoms,
            cells=batch.cells,
            pbc=batch.pbc,
            threads=threads,
        )
        return found.energy, found.forces

    return answer
