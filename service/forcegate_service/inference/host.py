"""Models in an inference process that may die: it is started again, and nobody waits in vain."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Protocol

from forcegate_service.card import ModelCard
from forcegate_service.compilation.cache import Package
from forcegate_service.compilation.parity import compare
from forcegate_service.errors import CompilationFailed, RuntimeFault
from forcegate_service.graph import Graph
from forcegate_service.inference.process import COMMAND, InferenceProcess, ProcessDied
from forcegate_service.kernel.shape import KernelShape
from forcegate_service.memory_need import (
    MemoryNeed,
    compiled_need,
    kernel_need,
    torchscript_need,
)
from forcegate_service.reference import reference_graph
from forcegate_service.runtime import ModelOutput

__all__ = ["HostedRuntime", "InferenceEvents", "InferenceHost"]

logger = logging.getLogger(__name__)

# A package that ends its process so many times in a row rests, for longer each time: one structure,
# or a system short of memory, may have been to blame.
_PACKAGE_CRASHES = 2
_FIRST_REST_S = 60.0
_LONGEST_REST_S = 3600.0
_STARTS = 5
# After so many deaths without an answer in between; the last one for all that follow.
_PAUSES_S = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0)
_WARM_UP_ROUNDS = 3


class InferenceEvents(Protocol):
    """Who wants to know what becomes of the process; called from several threads."""

    def inference_restarted(self) -> None:
        """The process had died and was started again."""

    def compiled(self, card: ModelCard, in_use: bool) -> None:
        """A version is now evaluated by compiled code, or no longer is."""

    def compile_took(self, card: ModelCard, seconds: float) -> None:
        """A package was built."""


@dataclass
class _Held:
    folder: Path
    card: ModelCard
    package: Package | None = None
    crashes: int = 0
    # A package that rests, until when, and how many times it has.
    resting: Package | None = None
    rested_at: float = 0.0
    rests: int = 0
    # False after a restart at which its files could not be read; tried again when it is asked for.
    opened: bool = True

    @cached_property
    def needs(self) -> tuple[MemoryNeed, MemoryNeed]:
        """Of TorchScript, and of what takes its place."""
        shape = self.card.architecture
        compiled = compiled_need if KernelShape.of(shape) is None else kernel_need
        return torchscript_need(shape), compiled(shape)


class InferenceHost:
    """Keeps one inference process alive and the same models open in it.

    Any thread may call; one call at a time reaches the process. A death is a ``RuntimeFault`` of
    the batch that was running, so that halving it finds the structure that brings the process
    down. A single structure is tried once more first: it may be innocent (the system kills
    processes too), and once with TorchScript if the package turned out to be at fault.
    """

    def __init__(
        self,
        threads: int,
        device: str,
        events: InferenceEvents | None = None,
        command: Sequence[str] = COMMAND,
        awake_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._threads = threads
        self._device = device
        self._events = events
        self._command = command
        self._awake_s = awake_s
        self._lock = threading.RLock()
        self._models: dict[int, _Held] = {}
        self._numbers = count()
        self._deaths = 0
        self._greeting: list[str] | None = None
        # It takes seconds to import torch; meanwhile others can work.
        self._process = InferenceProcess(command, threads, device, awake_s)

    @property
    def pid(self) -> int:
        """The number of the process that evaluates now."""
        return self._process.pid

    def build_id(self) -> str:
        """What packages must be built for, to run here.

        Raises:
            RuntimeFault: if the process cannot be started.
        """
        with self._lock:
            self._ensure_running()
            assert self._greeting is not None
            return self._greeting[1]

    def open(self, folder: Path) -> HostedRuntime:
        """Load the TorchScript of the version in ``folder``.

        Raises:
            ModelRefused: if its files do not match its card.
            RuntimeFault: if the process cannot open it.
        """
        card = ModelCard.load(folder)
        with self._lock:
            self._ensure_running()
            number, held = next(self._numbers), _Held(folder, card)
            try:
                self._open(number, held)
            except ProcessDied as death:
                raise RuntimeFault(f"the inference process was {death}") from death
            self._models[number] = held
        return HostedRuntime(self, number, folder, card)

    def evaluate(self, number: int, graph: Graph) -> ModelOutput:
        """The answer of one model.

        Raises:
            RuntimeFault: if the model failed, or brought the process down.
        """
        attempts = 0
        while True:
            with self._lock:
                self._ensure_running()
                held = self._models[number]
                if held.resting is not None and self._clock() >= held.rested_at:
                    self._try_again(number, held, held.resting)
                try:
                    if not held.opened:
                        self._reopen(number, held)
                    if not held.opened:
                        raise RuntimeFault(f"{held.folder} cannot be opened again")
                    output = self._process.evaluate(number, graph)
                except ProcessDied as death:
                    logger.error(
                        "the inference process was lost: %s, with %d structures of %s version %s; "
                        "it is started again",
                        *(death, len(graph.n_atoms), held.card.name, held.card.version),
                    )
                    dropped = self._count_crash(held)
                    attempts += 1
                    if len(graph.n_atoms) > 1 or (attempts > 1 and not dropped):
                        raise RuntimeFault(f"the inference process was lost: {death}") from death
                else:
                    held.crashes = self._deaths = 0
                    return output

    def memory(self, number: int) -> MemoryNeed:
        """What the code takes that evaluates a model now."""
        held = self._models[number]
        interpreted, compiled = held.needs
        return interpreted if held.package is None else compiled

    def adopt(self, number: int, package: Package) -> None:
        """Evaluate a model by compiled code from the next batch on, if that gives its answers.

        Raises:
            CompilationFailed: if it does not; TorchScript goes on.
            RuntimeFault: if not even TorchScript answers.
        """
        with self._lock:
            held = self._models[number]
            held.resting = None
            graph = reference_graph(held.card)
            expected = self.evaluate(number, graph)
            held.package, held.crashes = package, 0
            try:
                self._process.ask("adopt", number, str(package.path), package.digest)
                for _ in range(_WARM_UP_ROUNDS):
                    received = self.evaluate(number, graph)
                compare(expected, received)
            except (ProcessDied, RuntimeFault, CompilationFailed) as error:
                self._drop(number, held)
                held.resting = None
                raise CompilationFailed(str(error)) from error
            # If it has ended the process, it has never been good: there is nothing to wait for.
            held.resting = None
            if held.package is None:
                raise CompilationFailed("it ends the process that runs it")
            self._tell(held, True)

    def forget(self, number: int) -> None:
        """Close one model."""
        with self._lock:
            if self._models.pop(number, None) is not None:
                with suppress(ProcessDied, RuntimeFault):
                    self._process.ask("forget", number)

    def kill(self) -> None:
        """End the process at once, without waiting for whoever asks it something."""
        self._process.kill()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._process.stop()

    def _ensure_running(self) -> None:
        if self._greeting is None:
            self._start(again=False)
        elif not self._process.alive():
            self._start(again=True)

    def _start(self, again: bool) -> None:
        """Start the process until it holds every model, with growing pauses.

        Raises:
            RuntimeFault: if it does not come up.
        """
        reason: Exception | None = None
        for attempt in range(_STARTS):
            if again or attempt:
                time.sleep(_PAUSES_S[min(self._deaths, len(_PAUSES_S) - 1)])
                self._deaths += 1
                self._process.stop()
                self._process = InferenceProcess(
                    self._command, self._threads, self._device, self._awake_s
                )
                if self._events is not None:
                    self._events.inference_restarted()
            try:
                self._greeting = [str(word) for word in self._process.greeting()]
                for number, held in self._models.items():
                    self._reopen(number, held)
                return
            except ProcessDied as death:
                logger.error("the inference process did not start: %s", death)
                reason = death
        raise RuntimeFault(f"the inference process does not start: {reason}") from reason

    def _open(self, number: int, held: _Held) -> None:
        self._process.ask("open", number, str(held.folder), held.card.digest)

    def _reopen(self, number: int, held: _Held) -> None:
        try:
            self._open(number, held)
        except RuntimeFault as error:
            # Its evaluations fail; the others' do not.
            if held.opened:
                logger.error("%s cannot be opened again: %s", held.folder, error)
            held.opened = False
            return
        if not held.opened:
            logger.info("%s is open again", held.folder)
            held.opened = True
        if held.package is not None:
            try:
                package = held.package
                self._process.ask("adopt", number, str(package.path), package.digest)
            except RuntimeFault as error:
                logger.error("%s: the package cannot be loaded again: %s", held.folder, error)
                self._without_package(held)
            except ProcessDied:
                self._count_crash(held)
                raise

    def _count_crash(self, held: _Held) -> bool:
        """Whether this was one crash too many for the package, which is then given up."""
        if held.package is None:
            return False
        held.crashes += 1
        if held.crashes < _PACKAGE_CRASHES:
            return False
        logger.error(
            "%s version %s: its compiled code ended the inference process %d times in a row",
            *(held.card.name, held.card.version, held.crashes),
        )
        package = held.package
        self._without_package(held)
        self._rest(held, package)
        return True

    def _rest(self, held: _Held, package: Package) -> None:
        rest_s = min(_FIRST_REST_S * 2**held.rests, _LONGEST_REST_S)
        held.rests += 1
        held.resting, held.rested_at = package, self._clock() + rest_s
        logger.warning(
            "%s version %s: TorchScript serves for %.0f s; then its compiled code is tried again",
            *(held.card.name, held.card.version, rest_s),
        )

    def _try_again(self, number: int, held: _Held, package: Package) -> None:
        held.resting = None
        try:
            self.adopt(number, package)
        except (CompilationFailed, RuntimeFault) as error:
            logger.error("%s version %s: %s", held.card.name, held.card.version, error)
            self._rest(held, package)

    def _drop(self, number: int, held: _Held) -> None:
        self._without_package(held)
        # A process that dies now starts again without the package.
        with suppress(ProcessDied):
            self._process.ask("drop", number)

    def _without_package(self, held: _Held) -> None:
        held.package = None
        self._tell(held, False)

    def _tell(self, held: _Held, in_use: bool) -> None:
        if self._events is not None:
            self._events.compiled(held.card, in_use)


class HostedRuntime:
    """One version of a model, held by the inference process."""

    concurrency = 1

    def __init__(self, host: InferenceHost, number: int, folder: Path, card: ModelCard) -> None:
        self.card = card
        self.folder = folder
        self._host = host
        self._number = number

    def evaluate(self, graph: Graph) -> ModelOutput:
        """The model's answer for all structures of ``graph``.

        Raises:
            RuntimeFault: if the model failed, or brought the process down.
        """
        return self._host.evaluate(self._number, graph)

    @property
    def memory(self) -> MemoryNeed:
        """What the code that evaluates now takes."""
        return self._host.memory(self._number)

    def adopt(self, package: Package) -> None:
        """Answer by compiled code from the next batch on.

        Raises:
            CompilationFailed: if it gives other answers; TorchScript goes on.
        """
        self._host.adopt(self._number, package)

    def close(self) -> None:
        """Let the process forget the model."""
        self._host.forget(self._number)
