"""What the inference process does: hold models, and answer for them until it is hung up on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from forcegate_service.contract.errors import DeviceLost, ModelRefused
from forcegate_service.contract.motion import Chunk, Mover
from forcegate_service.contract.runtime import LoadedRuntime
from forcegate_service.contract.structures import uncounted
from forcegate_service.machine import give_back_memory, two_cores_with
from forcegate_service.runtimes.here import Opened
from forcegate_service.runtimes.process.channel import DONE, FAILED, Channel
from forcegate_service.runtimes.process.memory import StructureMemory

__all__ = ["serve"]

# Beyond any batch of several structures.
_LARGE_ATOMS = 4096


def serve(
    channel: Channel,
    memory: StructureMemory,
    open_version: Callable[[Path], Opened],
    awake_s: float = 0.0,
) -> None:
    """Greet, then answer one message after another until the other side hangs up.

    For ``awake_s`` after an answer the process looks for the next message without sleeping: a core
    that slept for some milliseconds, between two steps of dynamics, computes the next one at half
    its speed. Where gateway and inference have one core between them it sleeps at once.

    Whoever started the process decides when it ends: signals that reach the whole group of
    processes must not cut off what the gateway still wants to finish.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    worker = _Worker(memory, open_version)
    try:
        channel.send(DONE)
        while True:
            message = channel.receive(awake_s if awake_s and two_cores_with(os.getppid()) else 0.0)
            channel.send(*worker.answer(message))
    except EOFError:
        return


class _Worker:
    def __init__(self, memory: StructureMemory, open_version: Callable[[Path], Opened]) -> None:
        self._memory = memory
        self._open_version = open_version
        self._models: dict[int, LoadedRuntime] = {}

    def answer(self, message: list[Any]) -> tuple[Any, ...]:
        """Do as told; whatever fails is told in one line."""
        command, *arguments = message
        try:
            return DONE, *getattr(self, f"do_{command}")(*arguments)
        except DeviceLost:
            # The next process may find the device again.
            raise
        except Exception as error:
            return FAILED, (str(error).strip() or type(error).__name__).splitlines()[-1]

    def do_open(self, model: int, folder: str, card_digest: str) -> tuple[Any, ...]:
        opened = self._open_version(Path(folder))
        if opened.runtime.card.card_digest != card_digest:
            raise ModelRefused(
                f"{folder} with the card {opened.runtime.card.card_digest}",
                expected=card_digest,
                action="restore the version; what changes its answers gets a new number",
            )
        self._models[model] = opened.runtime
        return opened.reason, list(opened.runtime.memory)

    def do_forget(self, model: int) -> tuple[()]:
        del self._models[model]
        return ()

    def do_evaluate(self, model: int, atoms: int, structures: int, capacity: int) -> tuple[float]:
        started = time.perf_counter()
        self._memory.map(capacity)
        inputs, outputs = self._memory.arrays(atoms, structures)
        answers = self._models[model].evaluate(uncounted(*inputs))
        for array, answer in zip(outputs, answers, strict=True):
            if answer is None:
                continue
            if answer.shape != array.shape:
                raise ValueError(f"an output of shape {answer.shape}, not {array.shape}")
            np.copyto(array, answer)
        if atoms > _LARGE_ATOMS:
            give_back_memory()
        return (time.perf_counter() - started,)

    def do_advance(self, model: int, chunk: list[Any]) -> tuple[float, list[Any]]:
        started = time.perf_counter()
        runtime: Mover = self._models[model]  # type: ignore[assignment]
        moved = runtime.advance(Chunk.unpacked(chunk)).packed()
        return time.perf_counter() - started, moved
