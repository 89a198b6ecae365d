"""What the inference process does: hold models, and answer for them until it is hung up on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from forcegate_service.allocator import give_back_memory
from forcegate_service.cores import two_cores_with
from forcegate_service.inference.channel import DONE, FAILED, Channel
from forcegate_service.inference.memory import GraphMemory

__all__ = ["Module", "Modules", "serve"]

Module = Callable[..., tuple[torch.Tensor, ...]]

# Beyond any batch of several structures.
_LARGE_EDGES, _LARGE_PAIRS = 200_000, 2_000_000


class Modules(Protocol):
    """Opens what a process may evaluate, after checking that it is what was asked for."""

    device: str

    def script(self, folder: Path, digest: str) -> Module:
        """The TorchScript of the version in ``folder``."""

    def package(self, path: Path, digest: str) -> Module:
        """A compiled package."""


@dataclass
class _Model:
    script: Module
    package: Module | None = None


def serve(
    channel: Channel,
    memory: GraphMemory,
    modules: Modules,
    greeting: list[Any],
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
    worker = _Worker(memory, modules)
    try:
        channel.send(DONE, *greeting)
        while True:
            message = channel.receive(awake_s if awake_s and two_cores_with(os.getppid()) else 0.0)
            channel.send(*worker.answer(message))
    except EOFError:
        return


class _Worker:
    def __init__(self, memory: GraphMemory, modules: Modules) -> None:
        self._memory = memory
        self._modules = modules
        self._models: dict[int, _Model] = {}

    def answer(self, message: list[Any]) -> tuple[Any, ...]:
        """Do as told; whatever fails is told in one line."""
        command, *arguments = message
        try:
            getattr(self, f"do_{command}")(*arguments)
        except Exception as error:
            text = (str(error).strip() or type(error).__name__).splitlines()[-1]
            if "CUDA error" in text:
                # After one of these the device answers nobody in this process any more.
                raise
            return FAILED, text
        return (DONE,)

    def do_open(self, model: int, folder: str, digest: str) -> None:
        self._models[model] = _Model(self._modules.script(Path(folder), digest))

    def do_adopt(self, model: int, path: str, digest: str) -> None:
        self._models[model].package = self._modules.package(Path(path), digest)

    def do_drop(self, model: int) -> None:
        self._models[model].package = None

    def do_forget(self, model: int) -> None:
        del self._models[model]

    def do_evaluate(
        self,
        model: int,
        atoms: int,
        edges: int,
        structures: int,
        pairs: int | None,
        capacity: int,
    ) -> None:
        held = self._models[model]
        self._memory.map(capacity)
        inputs, outputs = self._memory.arrays(atoms, edges, structures, pairs)
        tensors = [torch.from_numpy(array) for array in inputs]
        if self._modules.device != "cpu":
            tensors = [tensor.to(self._modules.device) for tensor in tensors]
        with torch.inference_mode():
            answers = (held.package or held.script)(*tensors)
        for array, answer in zip(outputs, answers, strict=True):
            if tuple(answer.shape) != array.shape:
                raise ValueError(f"an output of shape {tuple(answer.shape)}, not {array.shape}")
            np.copyto(array, answer.cpu().numpy())
        if edges > _LARGE_EDGES or (pairs or 0) > _LARGE_PAIRS:
            # It frees a gigabyte or more, which no usual batch will need again.
            del tensors, answers, answer
            give_back_memory()
