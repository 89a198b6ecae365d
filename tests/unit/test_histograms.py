"""What is counted of structures is what it is called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from pydantic import ValidationError

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import CARD_NAME, ModelCard
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_service.contract.histograms import FEATURES, TrainingHistograms, training_bins
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.fake import FakeRuntime, write_fake_model
from forcegate_service.watch.novelty.features import evenly, features_of, features_of_some
from support.histograms import give_histograms, histograms_of

CUTOFF = 5.0
STRUCTURES = [molecule("CH3CH2OH"), Atoms("H"), bulk("NaCl", "rocksalt", 5.6), molecule("H2O")]
TOLERANCE_A = 1e-12


@pytest.fixture
def runtime(tmp_path: Path) -> FakeRuntime:
    return FakeRuntime(write_fake_model(tmp_path, elements=(1, 6, 8, 11, 17)))


def evaluated(runtime: FakeRuntime) -> tuple[Graph, ModelOutput]:
    graph = build_graph(StructureBatch.from_atoms(STRUCTURES), CUTOFF)
    return graph, runtime.evaluate(graph)


def test_the_nearest_neighbour_is_the_one_that_ase_finds_images_included(
    runtime: FakeRuntime,
) -> None:
    features = features_of(*evaluated(runtime))
    ethanol, lone, salt, water = np.split(
        features.nearest_neighbour, np.cumsum([len(atoms) for atoms in STRUCTURES])[:-1]
    )
    for atoms, found in ((STRUCTURES[0], ethanol), (STRUCTURES[3], water)):
        distances = atoms.get_all_distances() + np.diag(np.full(len(atoms), np.inf))
        assert abs(distances.min(axis=1) - found).max() < TOLERANCE_A
    assert abs(salt - 2.8).max() < TOLERANCE_A
    assert np.isinf(lone).all()


def test_uncertainty_is_by_atom_and_novelty_that_of_the_most_novel_atom(
    runtime: FakeRuntime,
) -> None:
    graph, output = evaluated(runtime)
    features = features_of(graph, output)
    sizes = [len(atoms) for atoms in STRUCTURES]
    assert features.atoms.tolist() == sizes
    assert features.energy_uncertainty == pytest.approx(output.energy_uncertainty / sizes)
    of_each = np.split(output.atom_novelty, np.cumsum(sizes)[:-1])
    assert features.max_novelty.tolist() == [novelty.max() for novelty in of_each]


def test_some_structures_have_the_features_that_they_have_among_all(runtime: FakeRuntime) -> None:
    graph, output = evaluated(runtime)
    features = features_of(graph, output)
    some = features_of_some(graph, output, np.array([1, 3]), most_atoms=1000)
    atoms = np.flatnonzero(np.isin(graph.structure_index, [1, 3]))
    for name in ("elements", "nearest_neighbour"):
        assert getattr(some, name).tolist() == getattr(features, name)[atoms].tolist()
    for name in ("atoms", "energy_uncertainty", "max_novelty"):
        assert getattr(some, name).tolist() == getattr(features, name)[[1, 3]].tolist()


def test_of_a_large_structure_some_atoms_are_looked_at_and_the_most_novel_of_all(
    runtime: FakeRuntime,
) -> None:
    graph, output = evaluated(runtime)
    features = features_of(graph, output)
    some = features_of_some(graph, output, np.array([0]), most_atoms=3)
    assert some.elements.tolist() == graph.atomic_numbers[[0, 3, 6]].tolist()
    assert some.nearest_neighbour.tolist() == features.nearest_neighbour[[0, 3, 6]].tolist()
    assert some.max_novelty.tolist() == features.max_novelty[:1].tolist()


@pytest.mark.parametrize(("size", "most"), [(0, 4), (3, 4), (4, 4), (5, 4), (1000, 7)])
def test_what_is_evenly_taken_is_spread_over_the_whole(size: int, most: int) -> None:
    taken = evenly(size, most)
    assert len(taken) == min(size, most)
    steps = np.diff([*taken, size])
    assert not size or (steps.min() >= 1 and steps.max() - steps.min() <= 1)


def test_every_value_falls_into_one_bin(runtime: FakeRuntime) -> None:
    features = features_of(*evaluated(runtime))
    bins = training_bins(runtime.card.elements)
    counts = bins.count(features)
    for name in FEATURES:
        assert counts[bins.of[name]].sum() == len(getattr(features, name))


def test_elements_have_a_bin_each_and_atoms_without_a_neighbour_have_one_of_their_own(
    runtime: FakeRuntime,
) -> None:
    graph, output = evaluated(runtime)
    counted = histograms_of([graph], [output], runtime.card).features
    # H C O Na Cl, however the card orders them.
    assert counted["elements"].counts == [6 + 1 + 2, 2, 1 + 1, 1, 1]
    assert counted["nearest_neighbour"].counts[-1] == 1


def test_a_card_keeps_its_histograms_and_counts_in_the_same_bins_again(tmp_path: Path) -> None:
    write_fake_model(tmp_path)
    folder = tmp_path / "fake" / "1"
    given = give_histograms(folder, [molecule("H2O"), molecule("CH4")])
    card = ModelCard.load(folder)
    assert card.schema_version == 1
    assert card.histograms == given
    bins = given.bins()
    again = TrainingHistograms.of(bins, given.counts(), np.array([0.0, 1.0]), 2, 0)
    assert again.features == given.features


def test_a_card_from_before_histograms_is_still_read(tmp_path: Path) -> None:
    card = write_fake_model(tmp_path)
    path = tmp_path / "fake" / "1" / CARD_NAME
    path.write_text(card.model_dump_json(exclude={"histograms"}), encoding="utf-8")
    assert ModelCard.load(path.parent).histograms is None


def test_histograms_that_cannot_be_are_refused_with_their_card(tmp_path: Path) -> None:
    write_fake_model(tmp_path)
    folder = tmp_path / "fake" / "1"
    good = give_histograms(folder, [molecule("H2O")]).model_dump()
    text = (folder / CARD_NAME).read_text(encoding="utf-8")
    (folder / CARD_NAME).write_text(text.replace('"max_novelty": {', '"age": {'), encoding="utf-8")
    with pytest.raises(ModelRefused, match="histograms"):
        ModelCard.load(folder)
    for spoil, reason in (
        ({"counts": [1, 2]}, "one count more"),
        ({"edges": [8.0, 6.0], "counts": [1, 2, 3]}, "do not ascend"),
        ({"edges": [6.0], "counts": [0, 0]}, "all zero"),
    ):
        features = good["features"] | {"elements": {"edges": [6.0, 8.0]} | spoil}
        with pytest.raises(ValidationError, match=reason):
            TrainingHistograms.model_validate(good | {"features": features})
