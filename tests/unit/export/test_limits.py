"""The limits of a card allow what its version learned from, and little beyond it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forcegate_client.checks.plausible import implausible
from forcegate_client.dataset import Dataset, load_dataset
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.survey import contacts
from forcegate_service.models.loading import atomic_energies
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.export.limits import limits_of

FLOOR = 0.5


@pytest.fixture(scope="module")
def learned(dataset_file: Path) -> Dataset:
    dataset = load_dataset(dataset_file)
    return dataset.select(dataset.frame_indices("train"))


def test_an_exported_card_allows_every_label_and_not_ten_times_as_much(
    exported: Path, learned: Dataset
) -> None:
    runtime = TorchScriptRuntime(exported)
    card, alone = runtime.card, atomic_energies(runtime)
    graph = build_graph(structures_of(learned), *card.reach)
    assert learned.energies is not None
    assert learned.forces is not None
    first = np.cumsum(learned.n_atoms) - learned.n_atoms
    apart = np.add.reduceat(alone[learned.atomic_numbers], first)
    said = runtime.evaluate(graph)._replace(energy=learned.energies, forces=learned.forces)
    assert not implausible(said, graph, alone, card.limits)
    assert not contacts(graph, card.shortest_distances).refused

    def refused(energy: float, force: float) -> int:
        moved = apart + energy * (learned.energies - apart)
        output = ModelOutput(moved, force * learned.forces, *said[2:])
        return len(implausible(output, graph, alone, card.limits))

    assert refused(energy=1.0, force=9.0) == 0
    assert refused(energy=10.0, force=1.0) > 0
    assert refused(energy=1.0, force=20.0) > 0


def test_only_pairs_that_were_learned_closer_than_radii_allow_are_named(
    exported: Path, learned: Dataset
) -> None:
    card = ModelCard.load(exported)
    alone = np.zeros(119)
    assert limits_of(learned, alone, FLOOR).minimum_distances == {}
    frame, (one, other) = _bonded(learned, 6, 6)
    positions = learned.positions.copy()
    bond = positions[other] - positions[one]
    positions[other] = positions[one] + 0.953 / np.linalg.norm(bond) * bond
    # Of this frame alone, whose other atoms stay away from the moved one by more.
    close = replace(learned, positions=positions).select(np.array([frame]))
    assert card.shortest_distances.between(6, 6) > 0.953
    assert limits_of(close, alone, FLOOR).minimum_distances["C-C"] == 0.95


def _bonded(dataset: Dataset, first: int, second: int) -> tuple[int, tuple[int, int]]:
    """A frame, and the indices of two of its atoms that are bonded."""
    for frame in range(len(dataset)):
        atoms = range(*dataset.atoms_of(frame).indices(len(dataset.positions)))
        for i in atoms:
            for j in atoms:
                kinds = (dataset.atomic_numbers[i], dataset.atomic_numbers[j])
                distance = np.linalg.norm(dataset.positions[i] - dataset.positions[j])
                if i != j and kinds == (first, second) and distance < 1.7:
                    return frame, (i, j)
    raise AssertionError(f"no bond between {first} and {second}")
