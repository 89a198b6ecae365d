"""Weights for the engine, in a version that was exported without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from forcegate_client.atomic_write import write_atomically
from forcegate_engine import EngineError, Model
from forcegate_engine.errors import LibraryMissing
from forcegate_service.card import ENGINE_NAME, ModelCard, content_digest
from forcegate_service.embedded import tensors_of
from forcegate_service.errors import ModelRefused
from forcegate_service.graph import build_graph
from forcegate_service.torchscript import load_script
from forcegate_trainer.export.engine_weights import engine_weights
from forcegate_trainer.network.storage import architecture_of, student_of

__all__ = ["add_weights", "check_weights"]

# eV, eV/Å and e; float32 networks differ in the last digits by the order of their sums.
_TOLERANCE = 1e-4
# Å; enough of them that bonds, contacts and what lies beyond the cutoff are all compared.
_SCALES = (1.0, 0.97, 1.05, 2.5)


def add_weights(folder: Path) -> float:
    """Write ``model.safetensors`` into a version's folder and name it in the card.

    The version stays what it is: its identity is the digest of ``model.pt``, which is not touched.
    Weights that are there already are replaced. Returns the largest deviation of a force from
    ``model.pt``'s, over the card's reference structure at several scales, in eV/Å.

    Raises:
        ModelRefused: if a file of the version does not match its card, or the engine does not
            answer as ``model.pt`` does.
        SettingsError: if the network of today is not the one that the weights belong to.
        LibraryMissing: if the engine is not compiled here.
    """
    card = ModelCard.load(folder)
    model = student_of(card, load_script(card.read(folder)))
    content = engine_weights(model, architecture_of(card), card.pair_cutoff)
    deviation = _deviation(card, folder, content)
    write_atomically(folder / ENGINE_NAME, content)
    files = card.files | {ENGINE_NAME: content_digest(content)}
    card.model_copy(update={"files": files}).save(folder)
    return deviation


def check_weights(folder: Path) -> None:
    """Have the engine answer for the card's reference structure, where there is an engine.

    Raises:
        ModelRefused: if it does not answer as the card says.
    """
    try:
        Model.open(folder)
    except LibraryMissing:
        # Whoever opens it with one compares again.
        return
    except EngineError as error:
        raise _refused(str(error)) from error


def _deviation(card: ModelCard, folder: Path, content: bytes) -> float:
    engine, script = Model(content), load_script(card.read(folder))
    batch, worst = card.reference.batch(), 0.0
    for scale in _SCALES:
        positions = batch.positions * scale
        scaled = type(batch).from_arrays(batch.n_atoms, batch.atomic_numbers, positions)
        with torch.inference_mode():
            energy, forces, *_ = script(*tensors_of(build_graph(scaled, *card.reach)))
        try:
            answer = engine.evaluate(batch.atomic_numbers, positions)
        except EngineError as error:
            raise _refused(str(error)) from error
        size = 1.0 + float(forces.abs().max())
        off = float(np.abs(answer.forces - forces.numpy()).max()) / size
        if not max(off, abs(float(answer.energy[0] - energy[0])) / size) <= _TOLERANCE:
            raise _refused(f"forces off by {off:.2g} of {size:.2g} eV/Å at scale {scale}")
        worst = max(worst, off * size)
    return worst


def _refused(received: str) -> ModelRefused:
    return ModelRefused(
        f"weights for the engine: {received}",
        expected="the answers of model.pt",
        action="export the model again",
    )
