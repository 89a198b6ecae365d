"""One connection to a Triton server, which is never taken up again once it is lost.

gRPC would connect again by itself, and the next answer could come from another process with other
weights. So what is at the other end is recognised once for each connection, and the connection is
thrown away at the first sign that it is not the same any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.errors import RuntimeFault
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.triton.interface import inputs_of, output_from, output_tensors

__all__ = ["Connection", "ConnectionLost", "NotServed"]

_READY = grpc.ChannelConnectivity.READY
_NO_ANSWER = ("StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED")
_ABSENT = ("StatusCode.NOT_FOUND", "StatusCode.UNAVAILABLE")


class ConnectionLost(Exception):
    """Nobody is at the other end any more, or somebody else might be."""


class NotServed(Exception):
    """The server does not have the version, or not any more."""


class Connection(InferenceServerClient):  # type: ignore[misc]
    """The client of one server, and the state of its only connection."""

    def __init__(self, address: str, timeout_s: float) -> None:
        """Connect to ``address`` when first asked; an answer may take ``timeout_s``."""
        super().__init__(address)
        self._timeout_s = timeout_s
        self._was_lost = False

    def intact(self) -> bool:
        """Whether it is still the connection that it was."""
        return not self._was_lost and self._channel.get_state() is _READY

    async def connected(self) -> None:
        """Return once the server says that it is alive.

        Whether all is well with every model is not asked: others may have models there.

        Raises:
            ConnectionLost: if it does not.
        """
        try:
            alive = await self._asked(self.is_server_live)
        except NotServed as error:
            raise ConnectionLost(str(error)) from error
        if not alive or not self.intact():
            raise ConnectionLost("it is not alive")

    async def lost(self) -> None:
        """Return when the connection is gone."""
        if self.intact():
            await self._channel.wait_for_state_change(_READY)
        # Even if it came back at once: then it is another one.
        self._was_lost = True

    async def described(self, card: ModelCard) -> tuple[Any, Any]:
        """Metadata and configuration of a version, as the server has them.

        Raises:
            NotServed: if it has no such version.
            ConnectionLost: if nobody answers.
        """
        metadata = await self._asked(self.get_model_metadata, card.name, card.version)
        response = await self._asked(self.get_model_config, card.name, card.version)
        return metadata, response.config

    async def evaluate(self, card: ModelCard, graph: Graph) -> ModelOutput:
        """The answer of one version for a graph that has edges.

        Raises:
            RuntimeFault: if the model failed on it.
            NotServed: if the server has no such version.
            ConnectionLost: if nobody answers in time, or it cannot be told who did.
        """
        inputs = []
        for tensor, array in inputs_of(graph):
            given = InferInput(tensor.name, list(array.shape), tensor.kind)
            given.set_data_from_numpy(array)
            inputs.append(given)
        if not self.intact():
            raise ConnectionLost("the connection is gone")
        result = await self._asked(self.infer, card.name, inputs, model_version=card.version)
        if not self.intact():
            raise ConnectionLost("the connection went while the answer came")
        names = [tensor.name for tensor in output_tensors(card.interface)]
        arrays = {name: result.as_numpy(name) for name in names}
        absent = [name for name, array in arrays.items() if array is None]
        if absent:
            raise RuntimeFault(f"Triton answered without {', '.join(absent)}")
        return output_from(arrays)

    async def _asked(
        self, method: Callable[..., Awaitable[Any]], *args: Any, **options: Any
    ) -> Any:
        try:
            return await method(*args, client_timeout=self._timeout_s, **options)
        except InferenceServerException as error:
            said = f"{error.status()}: {error.message()}"
            if error.status() in _ABSENT and self.intact():
                raise NotServed(said) from error
            if error.status() in _ABSENT + _NO_ANSWER:
                raise ConnectionLost(said) from error
            raise RuntimeFault(f"Triton: {said}") from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # The connection was closed while the answer was waited for.
            raise ConnectionLost("the connection was closed") from error
        except grpc.aio.UsageError as error:
            # The connection was closed while somebody was about to ask.
            raise ConnectionLost(str(error)) from error
