"""What Triton needs beside a version's files to serve it, written from one description.

``<model>/config.pbtxt`` is for the PyTorch backend of NVIDIA's images, and is the one that Triton
takes by itself. ``<model>/configs/python.pbtxt`` is for servers that have only the Python backend
(``--model-config-name=python``), which runs ``<version>/model.py``; that is the same in every
version, and only written where it is asked for. Both warm up on the reference structure of the
newest version, whose arrays lie in ``<model>/warmup/``.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.reference import reference_graph
from forcegate_service.runtimes.triton.interface import (
    Tensor,
    input_tensors,
    inputs_of,
    output_tensors,
)

__all__ = ["triton_files", "update_triton_files"]

CONFIG_NAME = "config.pbtxt"
PYTHON_CONFIG_NAME = "configs/python.pbtxt"
MODULE_NAME = "model.py"
_WARM_UP_ROUNDS = 3


def update_triton_files(
    models: Iterable[Path], *, write: bool, python_backend: bool = False
) -> list[Path]:
    """The files in ``models`` that are not as they should be; they are written if told to.

    Raises:
        ModelRefused: if a version's files do not match its card.
    """
    changed = []
    for model in models:
        for name, content in triton_files(model, python_backend).items():
            path = model / name
            if not path.is_file() or path.read_bytes() != content:
                changed.append(path)
                if write:
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(content)
    return changed


def triton_files(model: Path, python_backend: bool = False) -> dict[str, bytes]:
    """What Triton needs in ``model``, a folder with version folders, by its path there.

    With ``python_backend`` each version's module for it is among them.

    Raises:
        ModelRefused: if a version's files do not match its card.
    """
    versions = sorted(
        (path for path in model.iterdir() if path.is_dir() and path.name.isdecimal()),
        key=lambda path: int(path.name),
    )
    cards = [ModelCard.load(version) for version in versions]
    card = cards[-1]
    # One configuration is for all versions of a model: those of another interface stay out.
    served = [one.version for one in cards if one.interface == card.interface]
    policy = (
        "all { }"
        if len(served) == len(cards)
        else f"specific {{ versions: [ {', '.join(served)} ] }}"
    )
    arrays = inputs_of(reference_graph(card))
    found = {
        CONFIG_NAME: _config(card, policy, 'platform: "pytorch_libtorch"', "KIND_AUTO").encode(),
        PYTHON_CONFIG_NAME: _config(card, policy, 'backend: "python"', "KIND_CPU").encode(),
    }
    if python_backend:
        module = files("forcegate_service.runtimes.triton").joinpath("python_model.py").read_bytes()
        found |= {f"{version.name}/{MODULE_NAME}": module for version in versions}
    return found | {f"warmup/{tensor.name}": array.tobytes() for tensor, array in arrays}


def _config(card: ModelCard, policy: str, backend: str, kind: str) -> str:
    """``max_batch_size: 0``: the gateway batches, Triton sees one flat graph.

    ``KIND_AUTO`` takes a GPU where there is one. The version policy serves every version that has
    the interface of the newest, not only that one.
    """
    return (
        f'name: "{card.name}"\n'
        f"{backend}\n"
        "max_batch_size: 0\n"
        f"version_policy: {{ {policy} }}\n"
        f"{_tensors('input', input_tensors(card.interface))}"
        f"{_tensors('output', output_tensors(card.interface))}"
        f"instance_group [ {{ count: 1 kind: {kind} }} ]\n"
        f"{_warm_up(card)}"
    )


def _tensors(kind: str, tensors: tuple[Tensor, ...]) -> str:
    items = (
        f'  {{ name: "{tensor.name}" data_type: TYPE_{tensor.kind} '
        f"dims: [ {', '.join(map(str, tensor.dims))} ] }}"
        for tensor in tensors
    )
    return f"{kind} [\n" + ",\n".join(items) + "\n]\n"


def _warm_up(card: ModelCard) -> str:
    items = (
        f'    inputs {{ key: "{tensor.name}" value: {{ data_type: TYPE_{tensor.kind} '
        f"dims: [ {', '.join(map(str, array.shape))} ] "
        f'input_data_file: "{tensor.name}" }} }}\n'
        for tensor, array in inputs_of(reference_graph(card))
    )
    return (
        "model_warmup [\n"
        f'  {{\n    name: "reference structure"\n    count: {_WARM_UP_ROUNDS}\n'
        f"{''.join(items)}  }}\n]\n"
    )
