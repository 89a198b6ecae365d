"""A training set for the toy model, which has none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_service.contract.histograms import TrainingHistograms, training_bins
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.fake import load_fake
from forcegate_service.watch.novelty.features import features_of

__all__ = ["give_histograms", "histograms_of"]


def histograms_of(
    graphs: Sequence[Graph], outputs: Sequence[ModelOutput], card: ModelCard
) -> TrainingHistograms:
    """As if the version of ``card`` had been trained on exactly these."""
    bins = training_bins(card.elements)
    features = [features_of(*pair) for pair in zip(graphs, outputs, strict=True)]
    counts = np.sum([bins.count(each) for each in features], axis=0)
    novelty = np.concatenate([each.max_novelty for each in features])
    return TrainingHistograms.of(bins, counts, novelty, len(novelty), seed=0)


def give_histograms(folder: Path, structures: Sequence[Atoms]) -> TrainingHistograms:
    """Write them into the card of a toy, as if it had been trained on ``structures``."""
    runtime = load_fake(folder)
    graph = build_graph(StructureBatch.from_atoms(structures), runtime.card.cutoff)
    found = histograms_of([graph], [runtime.evaluate(graph)], runtime.card)
    runtime.card.model_copy(update={"histograms": found}).save(folder)
    return found
