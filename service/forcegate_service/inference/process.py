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
from forcegate_service.graph import Structures
from forcegate_service.inference.channel import FAILED, Channel
from forcegate_service.inference.memory import StructureMemory
from forcegate_service.rounding import rounding_alike
from forcegate_service.runtime import ModelOutput

__all__ = ["COMMAND", "InferenceProcess", "ProcessDied", "ProcessHung"]

COMMAND = (sys.executable, "-m", "forcegate_service.inference")
_FAREWELL_S = 5.0
_STANDARD_ERROR = 2


class ProcessDied(Exception):
    """The inference process is gone; the message says how it ended."""


class ProcessHung(ProcessDied):
    """It did not answer in time, and was killed for that."""


class InferenceProcess:
    """One process; it starts when it is made, and is ready once ``greeting`` returns.

    It has a session of its own, so that Ctrl-C in a terminal reaches the gateway alone, and ends
    when the gateway's end of the channel is closed, by whatever death.
    """

    def __init__(
        self,
        command: Sequence[str],
        threads: int,
        device: str,
        awake_s: float = 0.0,
        timeout_s: float = 60.0,
        start_s: float = 60.0,
    ) -> None:
        """``timeout_s`` is how long an evaluation may take before the process counts as hung,
        ``start_s`` its start or the opening of a model, for which torch may have to be read.
        """
        self._timeout_s, self._start_s = timeout_s, start_s
        self._hung = False
        self._memory = StructureMemory.create()
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
                pass_fds=descriptors,
                start_new_session=True,
                env=keeping_memory(rounding_alike(os.environ)),
            )
        self._channel = Channel(ours)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it can be asked: it has not ended yet, and was not given up."""
        return not self._hung and self._process.poll() is None

    def greeting(self) -> None:
        """Wait until it is ready.

        Raises:
            ProcessDied: if it ended before, or says nothing.
        """
        self._receive(self._start_s)

    def ask(self, *message: Any, within_s: float | None = None) -> list[Any]:
        """Send one message and wait for its answer, as long as for a start unless told otherwise.

        Raises:
            ProcessHung: if there is none in time; the process was killed.
            ProcessDied: if the process ended meanwhile.
            RuntimeFault: if it could not do what it was asked.
        """
        try:
            self._channel.send(*message)
        except EOFError:
            raise self._died() from None
        return self._receive(self._start_s if within_s is None else within_s)

    def evaluate(self, model: int, structures: Structures, charges: bool) -> ModelOutput:
        """The answer of a model that was opened before, with ``charges`` if it knows them.

        Raises:
            ProcessHung: if there is none in time; the process was killed.
            ProcessDied: if the process ended meanwhile.
            RuntimeFault: if the model failed.
        """
        size = len(structures.atomic_numbers), len(structures.n_atoms)
        capacity = self._memory.fit(*size)
        inputs, outputs = self._memory.arrays(*size)
        given = (
            *(structures.positions, structures.atomic_numbers, structures.n_atoms),
            *(structures.cells, structures.pbc),
        )
        for place, array in zip(inputs, given, strict=True):
            place[...] = array
        self.ask("evaluate", model, *size, capacity, within_s=self._timeout_s)
        answered = outputs if charges else outputs[:-1]
        return ModelOutput(*(array.copy() for array in answered))

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

    def _receive(self, within_s: float) -> list[Any]:
        try:
            outcome, *rest = self._channel.receive(within_s=within_s)
        except TimeoutError:
            # What it may say later belongs to no question any more.
            self._hung = True
            self._process.kill()
            raise ProcessHung(f"it said nothing for {within_s:g} s") from None
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
