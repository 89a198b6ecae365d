"""Versions of random models, for tests of how models are served."""

import warnings
from dataclasses import replace
from pathlib import Path

import torch

from forcegate_service.contract.card import (
    ENGINE_NAME,
    MODEL_NAME,
    ModelCard,
    Reference,
    file_digest,
)
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.neighbors.pairs import PAIR_CUTOFF
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.runtimes.torchscript import tensors_of
from forcegate_trainer.export.engine_weights import engine_weights
from forcegate_trainer.network.config import CHARGED_PRESETS, PRESETS, PaiNNConfig
from forcegate_trainer.network.student import Student, student

ACETAMIDE_LIKE = (
    [8, 6, 7, 1, 1],
    [(0.0, 0.0, 0.0), (1.2, 0.1, 0.0), (1.9, 1.2, 0.1), (2.9, 1.1, 0.0), (1.5, 2.1, 0.2)],
)

SMALL = replace(PRESETS["painn_ultra_tiny"], depth=2)
SMALL_CHARGED = replace(CHARGED_PRESETS["painn_ultra_tiny"], depth=2)


def random_small_potential(config: PaiNNConfig = SMALL) -> Student:
    """Two interactions with random weights in the types that are served."""
    torch.manual_seed(0)
    model = student(config).eval()
    with torch.no_grad():
        for buffer in (model.reference_energies, model.novelty_mean):
            buffer.copy_(10.0 * torch.randn_like(buffer))
        for buffer in (model.uncertainty_factor, model.novelty_factor):
            buffer.copy_(0.1 * torch.randn_like(buffer))
    return model


def write_random_version(
    repository: Path, name: str = "small", engine: bool = True, charges: bool = False
) -> Path:
    """Write ``repository/<name>/1``: a script, a card, and the engine's weights unless told so.

    With ``charges`` it is of interface 2.
    """
    config = SMALL_CHARGED if charges else SMALL
    model = random_small_potential(config)
    card = write_fake_model(repository, name=name, interface=2 if charges else 1)
    folder = repository / name / "1"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit", DeprecationWarning)
        torch.jit.script(model).save(str(folder / MODEL_NAME))
    names = [MODEL_NAME]
    if engine:
        (folder / ENGINE_NAME).write_bytes(engine_weights(model, config, PAIR_CUTOFF))
        names.append(ENGINE_NAME)
    update = {
        "architecture": vars(config),
        "elements": list(config.elements),
        "reference": _reference(model, card),
        "files": {file: file_digest(folder / file) for file in names},
    }
    card.model_copy(update=update).save(folder)
    return folder


def _reference(model: Student, card: ModelCard) -> Reference:
    numbers, positions = ACETAMIDE_LIKE
    blank = card.reference.model_copy(
        update={"atomic_numbers": numbers, "positions": positions, "forces": []}
    )
    graph = build_graph(blank.batch(), *card.reach)
    with torch.inference_mode():
        energy, forces, _, sigma, *_ = model(*tensors_of(graph))
    answer = {
        "energy": float(energy[0]),
        "forces": forces.tolist(),
        "energy_uncertainty": float(sigma[0]),
    }
    return Reference.model_validate(blank.model_dump() | answer)
