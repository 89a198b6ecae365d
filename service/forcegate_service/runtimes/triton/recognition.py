"""Whether what a Triton server has loaded is the version that the gateway knows."""

from __future__ import annotations

from typing import Any

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.reference import compare_with_card, reference_graph
from forcegate_service.runtimes.triton.client import Connection
from forcegate_service.runtimes.triton.interface import Tensor, input_tensors, output_tensors

__all__ = ["recognised"]

_ACTION = "give Triton the configuration that `forcegate-serve triton-repository` writes"


async def recognised(connection: Connection, card: ModelCard) -> int:
    """How many instances of a version the server runs, once it proved to be that version.

    A digest proves what lies on the gateway's disk, not what Triton has loaded: so its interface is
    compared, and then its answer for the card's reference structure.

    Raises:
        ModelRefused: if it is something else.
        NotServed: if the server has no such version.
        RuntimeFault: if it fails on the reference structure.
        ConnectionLost: if nobody answers.
    """
    metadata, config = await connection.described(card)
    _compare_tensors("inputs", input_tensors(card.interface), metadata.inputs)
    _compare_tensors("outputs", output_tensors(card.interface), metadata.outputs)
    if config.max_batch_size != 0:
        raise ModelRefused(
            f"a model with max_batch_size {config.max_batch_size}",
            expected="0: the gateway batches, and a graph has no axis to batch along",
            action=_ACTION,
        )
    compare_with_card(card, await connection.evaluate(card, reference_graph(card)))
    return _instances(config)


def _compare_tensors(kind: str, expected: tuple[Tensor, ...], received: Any) -> None:
    found = {one.name: (one.datatype, tuple(one.shape)) for one in received}
    wanted = {tensor.name: (tensor.kind, tensor.dims) for tensor in expected}
    if found != wanted:
        raise ModelRefused(f"a model with {kind} {found}", expected=str(wanted), action=_ACTION)


def _instances(config: Any) -> int:
    """Those on a processor, and those on each of its GPUs."""
    counts = [int(group.count) * max(1, len(group.gpus)) for group in config.instance_group]
    return max(1, sum(counts))
