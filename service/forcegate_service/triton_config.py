"""The Triton configuration of an exported model, written from one description of its interface."""

from __future__ import annotations

from forcegate_service.card import ModelCard

__all__ = ["CONFIG_NAME", "model_config"]

CONFIG_NAME = "config.pbtxt"

# Names are those of the module's arguments; -1 is an axis of any length.
_INPUTS = (
    ("positions", "TYPE_FP64", (-1, 3)),
    ("atomic_numbers", "TYPE_INT64", (-1,)),
    ("edge_index", "TYPE_INT64", (2, -1)),
    ("edge_shift", "TYPE_FP64", (-1, 3)),
    ("structure_index", "TYPE_INT64", (-1,)),
    ("n_atoms", "TYPE_INT64", (-1,)),
)
# The PyTorch backend finds a tuple's items by the number after the two underscores.
_OUTPUTS = (
    ("energy__0", "TYPE_FP64", (-1,)),
    ("forces__1", "TYPE_FP64", (-1, 3)),
    ("virial__2", "TYPE_FP64", (-1, 3, 3)),
    ("energy_uncertainty__3", "TYPE_FP64", (-1,)),
    ("atom_novelty__4", "TYPE_FP64", (-1,)),
)


def model_config(card: ModelCard) -> str:
    """``config.pbtxt`` for the PyTorch backend.

    ``max_batch_size: 0``: the gateway batches, Triton sees one flat graph. ``KIND_AUTO`` takes a
    GPU where there is one. The version policy serves every version, not only the newest.
    """
    return (
        f'name: "{card.name}"\n'
        'platform: "pytorch_libtorch"\n'
        "max_batch_size: 0\n"
        "version_policy: { all { } }\n"
        f"{_tensors('input', _INPUTS)}"
        f"{_tensors('output', _OUTPUTS)}"
        "instance_group [ { count: 1 kind: KIND_AUTO } ]\n"
    )


def _tensors(kind: str, tensors: tuple[tuple[str, str, tuple[int, ...]], ...]) -> str:
    items = (
        f'  {{ name: "{name}" data_type: {dtype} dims: [ {", ".join(map(str, dims))} ] }}'
        for name, dtype, dims in tensors
    )
    return f"{kind} [\n" + ",\n".join(items) + "\n]\n"
