"""What the training set looks like to its student, for the gateway to compare requests with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from forcegate_client.dataset import Dataset
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.histograms import TrainingHistograms, training_bins
from forcegate_service.contract.runtime import LoadedRuntime
from forcegate_service.contract.survey import look_at
from forcegate_service.watch.novelty.features import features_of
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.progress import Tell, tell_nobody

__all__ = ["MOST_FRAMES", "add_histograms", "count_training_set", "refuse_other_data"]

# So many are drawn at random: twenty of them lie beyond the 99.9 % quantile.
MOST_FRAMES = 20_000
_SEED = 0
_BATCH = 32


def add_histograms(
    folder: Path, runtime: LoadedRuntime, dataset: Dataset, tell: Tell = tell_nobody
) -> TrainingHistograms:
    """Count the training set of the version in ``folder``, and write the counts into its card.

    The version stays what it is: its identity is the digest of ``model.pt``, which is not touched.
    Histograms that are there already are replaced. ``runtime`` has the version loaded.

    Raises:
        ModelRefused: if a file of the version does not match its card.
        SettingsError: if ``dataset`` is not what the version was trained on.
    """
    refuse_other_data(runtime.card, dataset)
    histograms = count_training_set(runtime, dataset, tell)
    # Read again: a validation may have written to it meanwhile.
    ModelCard.load(folder).model_copy(update={"histograms": histograms}).save(folder)
    return histograms


def count_training_set(
    runtime: LoadedRuntime,
    dataset: Dataset,
    tell: Tell = tell_nobody,
    most: int = MOST_FRAMES,
    seed: int = _SEED,
) -> TrainingHistograms:
    """The histograms of at most ``most`` training frames, drawn without replacement."""
    card = runtime.card
    training = dataset.frame_indices("train")
    chosen = training
    if len(training) > most:
        drawn = np.random.default_rng(seed).choice(training, most, replace=False)
        chosen = np.sort(drawn)
    bins, novelties = training_bins(card.elements), []
    counts = np.zeros(bins.size, dtype=np.int64)
    structures = structures_of(dataset)
    for start in range(0, len(chosen), _BATCH):
        surveyed, _ = look_at(structures.select(chosen[start : start + _BATCH]), card)
        features = features_of(surveyed, runtime.evaluate(surveyed))
        counts += bins.count(features)
        novelties.append(features.max_novelty)
        tell("counting the training frames", min(start + _BATCH, len(chosen)), len(chosen))
    return TrainingHistograms.of(bins, counts, np.concatenate(novelties), len(training), seed)


def refuse_other_data(card: ModelCard, dataset: Dataset) -> None:
    """Raise unless ``dataset`` is what the version of ``card`` was trained on.

    Raises:
        SettingsError: if its teacher or its content is another one.
    """
    learned = card.teacher.get("name")
    teacher = None if dataset.teacher is None else dataset.teacher.name
    version = f"{card.name} version {card.version}"
    if teacher != learned:
        raise SettingsError(
            f"received frames labelled by {teacher!r}; expected those of {learned!r}, from which "
            f"{version} has learned"
        )
    expected, received = card.dataset.get("sha256"), dataset.content_hash()
    if received != expected:
        raise SettingsError(
            f"received data with content {received[:12]}…; expected {str(expected)[:12]}…, the "
            f"frames that {version} was trained on: give all its files, in the order in which "
            "`fit` was given them"
        )
