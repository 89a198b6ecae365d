"""Whether compiled code gives the answers of TorchScript."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import StructureBatch
from forcegate_service.card import ModelCard
from forcegate_service.errors import CompilationFailed
from forcegate_service.graph import Graph, build_graph
from forcegate_service.reference import reference_graph
from forcegate_service.runtime import ModelOutput

if TYPE_CHECKING:
    import torch

__all__ = ["FORCE_TOLERANCE", "check_parity", "compare", "sample_graphs"]

Float = npt.NDArray[np.float64]
Module = Callable[..., "tuple[torch.Tensor, ...]"]

# eV/Å, and what comes to the same rounding in the other outputs; relative where numbers exceed 1.
FORCE_TOLERANCE = 1e-5
# Å; less than molecules vibrate, and about the distance of molecules in a crystal.
_SHAKE, _APART = 0.03, 3.0


def check_parity(card: ModelCard, script: Module, package: Module, device: str = "cpu") -> float:
    """Compare both at many shapes; returns the largest deviation of a force in eV/Å.

    Raises:
        CompilationFailed: if a number deviates by more than the tolerance.
    """
    # Imported here because the gateway compares too, and needs no torch for that.
    import torch

    worst = 0.0
    for graph in sample_graphs(card):
        tensors = [torch.from_numpy(array.copy()).to(device) for array in graph.arrays()]
        with torch.inference_mode():
            expected, received = (
                ModelOutput(*(output.cpu().numpy() for output in module(*tensors)))
                for module in (script, package)
            )
        worst = max(worst, compare(expected, received))
    return worst


def compare(expected: ModelOutput, received: ModelOutput) -> float:
    """The largest deviation of a force in eV/Å.

    Raises:
        CompilationFailed: if a number deviates by more than the tolerance.
    """
    others = received.columns
    for name, one in expected.columns.items():
        other = others.get(name, np.zeros(0))
        scale = max(1.0, float(np.abs(one).max(initial=0.0)))
        error = float(np.abs(other - one).max(initial=0.0)) if one.shape == other.shape else np.inf
        # Written so that NaN is a mismatch too.
        if not error <= FORCE_TOLERANCE * scale:
            raise CompilationFailed(
                f"{name} deviates from TorchScript by {error:.2g} where it is up to {scale:.2g}",
                expected=f"agreement to {FORCE_TOLERANCE}",
                action="none; TorchScript serves",
            )
    return float(np.abs(received.forces - expected.forces).max(initial=0.0))


def sample_graphs(card: ModelCard) -> Iterator[Graph]:
    """Batches of many shapes, all made of the card's reference structure.

    Only that is sure to be chemistry: on scattered atoms a trained network extrapolates to forces
    of any size. A lone atom, pairs, pieces, many copies, a cluster and a crystal are among them.
    """
    rng = np.random.default_rng(0)
    numbers = np.array(card.reference.atomic_numbers)
    sites = np.array(card.reference.positions).reshape(-1, 3)
    atoms, extent = len(numbers), np.ptp(sites, axis=0)

    def graph(*pieces: slice) -> Graph:
        batch = StructureBatch.from_arrays(
            n_atoms=[len(numbers[piece]) for piece in pieces],
            atomic_numbers=np.concatenate([numbers[piece] for piece in pieces]),
            positions=np.concatenate([shaken(sites[piece]) for piece in pieces]),
        )
        return build_graph(batch, *card.reach)

    def shaken(positions: Float) -> Float:
        return positions + rng.uniform(-_SHAKE, _SHAKE, positions.shape)

    whole, one = slice(atoms), slice(1)
    yield reference_graph(card)
    for pieces in ([one], [one, one], [slice(2)], [whole, one], [one, whole, slice(2)]):
        yield graph(*pieces)
    for copies in (2, 3, 17):
        yield graph(*[whole] * copies)
    yield graph(*(slice(size) for size in range(1, atoms + 1)))
    corners = np.stack(np.meshgrid(*[np.arange(2.0)] * 3), axis=-1).reshape(-1, 1, 3)
    cluster = shaken((sites + corners * (extent + _APART)).reshape(-1, 3))
    yield build_graph(
        StructureBatch.from_arrays([len(cluster)], np.tile(numbers, 8), cluster), *card.reach
    )
    crystal = StructureBatch.from_arrays(
        [atoms],
        numbers,
        shaken(sites),
        cells=(np.diag(extent + _APART) + np.triu(np.full((3, 3), 0.3), 1))[None],
        pbc=np.ones((1, 3), dtype=np.bool_),
    )
    yield build_graph(crystal, *card.reach)
