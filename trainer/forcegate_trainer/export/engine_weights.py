"""Weights of a student as the engine reads them: one safetensors file, nothing that runs."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from forcegate_trainer.network.charged_potential import ChargedPotential
from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.student import Student

__all__ = ["engine_weights"]

Array = npt.NDArray[np.generic]

_TYPES = {np.dtype("<f4"): "F32", np.dtype("<f8"): "F64", np.dtype("<i8"): "I64"}
# Readers may map the file: what follows the header begins at a multiple of this.
_ALIGNMENT = 8


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
