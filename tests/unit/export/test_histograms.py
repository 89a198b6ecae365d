"""The card says what the training set looks like to its student."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from forcegate_client.dataset import TeacherRecord, load_dataset
from forcegate_service.contract.card import ModelCard
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from forcegate_trainer.cli.app import create_app
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.export.histograms import add_histograms, count_training_set


@pytest.fixture
def bare(exported: Path, tmp_path: Path) -> Path:
    """The exported version with a card from before there were histograms."""
    folder = tmp_path / exported.parent.name / exported.name
    shutil.copytree(exported, folder)
    ModelCard.load(folder).model_copy(update={"histograms": None}).save(folder)
    return folder


def test_an_exported_version_knows_its_training_frames_and_no_others(
    exported: Path, dataset_file: Path
) -> None:
    histograms = ModelCard.load(exported).histograms
    dataset = load_dataset(dataset_file)
    train = dataset.select(dataset.frame_indices("train"))
    assert histograms is not None
    assert histograms.structures == histograms.training_frames == len(train)
    elements = histograms.features["elements"]
    starts = [0.0, *elements.edges]
    present = {
        int(np.digitize(number, elements.edges)): int(np.sum(train.atomic_numbers == number))
        for number in np.unique(train.atomic_numbers)
    }
    assert {k: n for k, n in enumerate(elements.counts) if n} == present
    assert len(starts) == len(ModelCard.load(exported).elements)
    assert sum(histograms.features["nearest_neighbour"].counts) == len(train.atomic_numbers)
    assert sum(histograms.features["atoms"].counts) == len(train)


def test_the_quantiles_are_those_of_the_most_novel_atom_of_each_training_frame(
    exported: Path, dataset_file: Path
) -> None:
    histograms = ModelCard.load(exported).histograms
    assert histograms is not None
    novelty = histograms.features["max_novelty"]
    last = max(k for k, count in enumerate(novelty.counts) if count)
    upper = [*novelty.edges, np.inf][last]
    assert 0 < histograms.max_novelty_99 <= histograms.max_novelty_999 < upper


def test_a_version_exported_before_gets_the_same_histograms_and_stays_what_it_is(
    exported: Path, bare: Path, dataset_file: Path
) -> None:
    whole = ModelCard.load(exported)
    told: list[tuple[int, int]] = []
    add_histograms(
        bare,
        TorchScriptRuntime(bare),
        load_dataset(dataset_file),
        lambda title, done, total: told.append((done, total)),
    )
    assert ModelCard.load(bare) == whole
    assert told[-1] == (30, 30)


def test_of_a_large_training_set_a_seeded_part_is_counted_and_the_card_says_so(
    exported: Path, dataset_file: Path
) -> None:
    runtime, dataset = TorchScriptRuntime(exported), load_dataset(dataset_file)
    first, again, other = (
        count_training_set(runtime, dataset, most=10, seed=seed) for seed in (1, 1, 2)
    )
    assert (first.structures, first.training_frames, first.seed) == (10, 30, 1)
    assert first == again
    assert first.features != other.features


def test_data_that_the_version_was_not_trained_on_is_refused(
    bare: Path, dataset_file: Path
) -> None:
    dataset, runtime = load_dataset(dataset_file), TorchScriptRuntime(bare)
    with pytest.raises(SettingsError, match="give all its files"):
        add_histograms(bare, runtime, dataset.select(np.arange(len(dataset) - 1)))
    strange = replace(dataset, teacher=TeacherRecord("tblite:GFN1-xTB", "test", {}))
    with pytest.raises(SettingsError, match="labelled by 'tblite:GFN1-xTB'"):
        add_histograms(bare, runtime, strange)
    assert ModelCard.load(bare).histograms is None


def test_the_command_adds_them_through_the_runtime_that_serves(
    exported: Path, bare: Path, dataset_file: Path
) -> None:
    arguments = ["export-histograms", str(bare), "--data", str(dataset_file)]
    done = CliRunner().invoke(create_app(), arguments)
    assert done.exit_code == 0, done.output
    assert "counted 30 of 30 training frames" in done.output
    card = ModelCard.load(bare)
    assert card.digest == ModelCard.load(exported).digest
    assert card.histograms is not None
