"""The gateway's side of one inference process: starting it, asking it, and noticing its death."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from forcegate_service.allocator import keeping_memory
from forcegate_service.errors import RuntimeFault
from forcegate_service.graph import Graph
from forcegate_service.inference.channel import FAILED, Channel
from forcegate_service.inference.memory import GraphMemory
from forcegate_service.inference.scratch import Scratch
from forcegate_service.rounding import rounding_alike
from forcegate_service.runtime import ModelOutput

__all__ = ["COMMAND", "InferenceProcess", "ProcessDied"]

COMMAND = (sys.executable, "-m", "forcegate_service.inference")
_FAREWELL_S = 5.0
_STANDARD_ERROR = 2


class ProcessDied(Exception):
    """The inference process is gone; the message says how it ended."""


class InferenceProcess:
    """One process; it starts when it is made, and is ready once ``greeting`` returns.

    It has a session of its own, so that Ctrl-C in a terminal reaches the gateway alone, and ends
    when the gateway's end of the channel is closed, by whatever death.
    """

    def __init__(
        self, command: Sequence[str], threads: int, device: str, awake_s: float = 0.0
    ) -> None:
        self._memory = GraphMemory.create()
        self._scratch = Scratch()
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = (theirs.fileno(), self._memory.descriptor)
            self._process = subprocess.Popen(  # noqa: S603 (our own module)
                [
                    *command,
                    *("--channel", str(descriptors[0]), "--memory", str(descriptors[1])),
                    *("--threads", str(threads), "--device", device),
                    *("--awake-s", str(awake_s)),
                ],
                stdin=subprocess.DEVNULL,
                # The gateway's standard output is for scripts that wait for its line.
                stdout=_STANDARD_ERROR,
                pass_fds=(*descriptors, *self._scratch.descriptors),
                start_new_session=True,
                env=self._scratch.environment(keeping_memory(rounding_alike(os.environ))),
            )
        self._channel = Channel(ours)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def greeting(self) -> list[Any]:
        """Wait until it is ready; the result is what it says of itself.

        Raises:
            ProcessDied: if it ended before.
        """
        return self._receive()

    def ask(self, *message: Any) -> None:
        """Send one message and wait for its answer.

        Raises:
            ProcessDied: if the process ended meanwhile.
            RuntimeFault: if it could not do what it was asked.
        """
        try:
            self._channel.send(*message)
        except EOFError:
            raise self._died() from None
        self._receive()

    def evaluate(self, model: int, graph: Graph) -> ModelOutput:
        """The answer of a model that was opened before.

        Raises:
            ProcessDied: if the process ended meanwhile.
            RuntimeFault: if the model failed.
        """
        size = len(graph.atomic_numbers), graph.n_edges, len(graph.n_atoms), graph.n_pairs
        capacity = self._memory.fit(*size)
        inputs, outputs = self._memory.arrays(*size)
        for place, array in zip(inputs, graph.arrays(), strict=True):
            place[...] = array
        self.ask("evaluate", model, *size, capacity)
        return ModelOutput(*(array.copy() for array in outputs))

    def kill(self) -> None:
        """End it at once, whatever it is doing; any thread may call."""
        self._process.kill()

    def stop(self) -> None:
        """Hang up, and wait until it has ended; one that does not end is killed."""
        self._channel.close()
        try:
            self._process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._memory.close()
        self._scratch.close()

    def _receive(self) -> list[Any]:
        try:
            outcome, *rest = self._channel.receive()
        except EOFError:
            raise self._died() from None
        if outcome == FAILED:
            raise RuntimeFault(f"the model failed: {rest[0]}")
        return rest

    def _died(self) -> ProcessDied:
        # Its end of the channel is closed, so it is about to end if it has not yet.
        try:
            code = self._process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code < 0:
            return ProcessDied(f"killed by {signal.Signals(-code).name}")
        return ProcessDied(f"ended with code {code}")
