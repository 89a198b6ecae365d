"""Weights of a student as the engine reads them, and in a version that lacks them.

One safetensors file: numbers, and nothing that runs.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from forcegate_client.writing.atomic import write_atomically
from forcegate_engine import EngineError, Model
from forcegate_engine.errors import LibraryMissing
from forcegate_service.contract.card import ENGINE_NAME, ModelCard, content_digest
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.graph import build_graph
from forcegate_service.runtimes.torchscript import load_script, tensors_of
from forcegate_trainer.network.charged_potential import ChargedPotential
from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.storage import architecture_of, student_of
from forcegate_trainer.network.student import Student

__all__ = ["add_weights", "check_weights", "engine_weights"]

Array = npt.NDArray[np.generic]

_TYPES = {np.dtype("<f4"): "F32", np.dtype("<f8"): "F64", np.dtype("<i8"): "I64"}
# Readers may map the file: what follows the header begins at a multiple of this.
_ALIGNMENT = 8

# eV, eV/Å and e; float32 networks differ in the last digits by the order of their sums.
_TOLERANCE = 1e-4
# Å; enough of them that bonds, contacts and what lies beyond the cutoff are all compared.
_SCALES = (1.0, 0.97, 1.05, 2.5)


def engine_weights(model: Student, config: PaiNNConfig, pair_cutoff: float) -> bytes:
    """The content of a ``model.safetensors``, the same for the same weights.

    The network is in float32; ``elements`` [K] are atomic numbers in the order of all else that is
    by element; what pairs need (``pairs.…``) is there if the student has charges. ``pair_cutoff``
    in Å.
    """
    tensors = dict(_network(model, config)) | dict(_around(model, config))
    if isinstance(model, ChargedPotential):
        tensors |= dict(_pairs(model, pair_cutoff))
    metadata = {
        "format": "forcegate",
        "format_version": "1",
        "interface": "2" if config.charges else "1",
        "width": str(config.width),
        "depth": str(config.depth),
        "n_radial": str(config.n_radial),
        "readout_width": str(config.readout_width),
        "elements": str(len(config.elements)),
    }
    return _safetensors(tensors, metadata)


def _network(model: Student, config: PaiNNConfig) -> Iterator[tuple[str, Array]]:
    """Stages lie in each other in the module, and one after the other in the file."""
    state = model.network.state_dict()
    stage = "stages."
    names = {"embedding.weight": "embedding.weight"}
    for layer in range(config.depth):
        for part in ("message.", "update."):
            for name in state:
                if name.startswith(stage + part):
                    names[name] = f"layers.{layer}.{name.removeprefix(stage)}"
        stage += "rest."
    for part in ("hidden.weight", "hidden.bias", "last.weight", "last.bias"):
        names[stage + part] = f"readout.{part}"
    assert set(names) == set(state)
    for name, place in names.items():
        yield place, state[name].numpy().astype("<f4")


def _around(model: Student, config: PaiNNConfig) -> Iterator[tuple[str, Array]]:
    yield "elements", np.array(config.elements, dtype="<i8")
    yield "cutoff", np.array([config.cutoff], dtype="<f8")
    for name in ("reference_energies", "novelty_mean", "novelty_factor", "uncertainty_factor"):
        yield name, getattr(model, name).numpy().astype("<f8")


def _pairs(model: ChargedPotential, cutoff: float) -> Iterator[tuple[str, Array]]:
    physics = model.physics
    yield "pairs.cutoff", np.array([cutoff], dtype="<f8")
    for name in ("width", "c6", "size", "radius", "nuclear_charge"):
        yield f"pairs.{name}", getattr(physics, name).numpy().astype("<f8")
    constants = "coulomb bohr hartree s8 a1 a2 core_reach screening_length"
    for name in constants.split():
        yield f"pairs.{name}", np.array([getattr(physics, name)], dtype="<f8")
    yield "pairs.screening", np.array(physics.screening, dtype="<f8")


def _safetensors(tensors: dict[str, Array], metadata: dict[str, str]) -> bytes:
    """The format: a length, a header in JSON, and the tensors; wide types first, all aligned."""
    order = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name in order:
        tensor = tensors[name]
        header[name] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [end, end + tensor.nbytes],
        }
        end += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    data = b"".join(np.ascontiguousarray(tensors[name]).tobytes() for name in order)
    return struct.pack("<Q", len(text)) + text + data


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
