"""Models in an inference process that may die or hang: nobody waits for it in vain."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from forcegate_client.errors import RuntimeUnavailable
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.errors import RuntimeFault, nobody_evaluates
from forcegate_service.contract.motion import Chunk, Moved
from forcegate_service.contract.runtime import Done, ModelOutput
from forcegate_service.contract.size import MemoryNeed
from forcegate_service.contract.structures import Structures
from forcegate_service.machine import two_cores_with
from forcegate_service.runtimes.process.process import (
    COMMAND,
    InferenceProcess,
    ProcessDied,
    ProcessHung,
)
from forcegate_service.runtimes.process.questions import Evaluation, Movement, Question

__all__ = ["HostedRuntime", "InferenceEvents", "InferenceHost"]

logger = logging.getLogger(__name__)

_STARTS = 5
# After so many deaths without an answer in between; the last one for all that follow.
_PAUSES_S = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0)
_TIMEOUT_S = 60.0
_NOTHING = MemoryNeed(0.0, 0.0, 0.0)


class InferenceEvents(Protocol):
    """Who wants to know what becomes of the process; called from several threads."""

    def inference_restarted(self) -> None:
        """The process had died and was started again."""

    def on_engine(self, card: ModelCard, engine: bool) -> None:
        """A version is evaluated by the engine, or else by TorchScript."""


@dataclass
class _Held:
    folder: Path
    card: ModelCard
    # Of what evaluates it, which is not the engine for this reason.
    memory: MemoryNeed = _NOTHING
    reason: str = ""
    # False after a restart at which its files could not be read; tried again when it is asked for.
    opened: bool = True


class InferenceHost:
    """Keeps one inference process alive and the same models open in it.

    Any thread may call; one call at a time reaches the process. A death is a ``RuntimeFault`` of
    the batch that was running, so that halving it finds the structure that brings the process
    down. A single structure is tried once more first: it may be innocent, since the system kills
    processes too. A process that does not answer for ``timeout_s`` is killed, and the batch is
    answered with an error that can be tried again: halving it would take as long for each half.
    ``start_s`` is how long a start may take.
    """

    def __init__(
        self,
        threads: int,
        device: str,
        events: InferenceEvents | None = None,
        command: Sequence[str] = COMMAND,
        awake_s: float = 0.0,
        timeout_s: float = _TIMEOUT_S,
        start_s: float = _TIMEOUT_S,
    ) -> None:
        self._awake_s = awake_s
        self._options = (command, threads, device, awake_s, timeout_s, start_s)
        self._events = events
        self._lock = threading.RLock()
        self._models: dict[int, _Held] = {}
        self._numbers = count()
        self._deaths = 0
        self._greeted = self._closed = False
        self._up = threading.Event()
        self._up.set()
        # It takes a moment to start; meanwhile others can work.
        self._process = InferenceProcess(*self._options)

    @property
    def pid(self) -> int:
        """The number of the process that evaluates now."""
        return self._process.pid

    @property
    def available(self) -> bool:
        """False once the process is found hanging or does not start, until one holds all models."""
        return self._up.is_set()

    def open(self, folder: Path) -> HostedRuntime:
        """Load the version in ``folder``.

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
        return HostedRuntime(self, number, held.folder, card, held.reason)

    def put(self, number: int, question: Question) -> Any:
        """The answer of one model.

        Raises:
            RuntimeFault: if the model failed, or brought the process down.
            RuntimeUnavailable: if the process hung, or does not start.
        """
        again = question.size == 1
        while True:
            with self._lock:
                self._ensure_running()
                held = self._models[number]
                try:
                    if not held.opened:
                        self._reopen(number, held)
                    if not held.opened:
                        raise RuntimeFault(f"{held.folder} cannot be opened again")
                    output = self._process.put(question)
                except ProcessDied as death:
                    told = self._lost(death, held, question.size)
                    if isinstance(told, RuntimeUnavailable) or not again:
                        raise told from death
                    again = False
                else:
                    self._deaths = 0
                    return output

    def start(self, number: int, question: Question, done: Done) -> bool:
        """The same on the running event loop, which calls ``done`` with the outcome.

        False if the process does not run with this model, or is being asked something: who calls
        ``put`` waits for that. Until ``done`` is called everybody else waits.
        """
        if not self._lock.acquire(blocking=False):
            return False
        started = False
        try:
            held = self._models.get(number)
            if held is not None and held.opened and self._runs():
                # A step of dynamics, whose answer is there before a core would be asleep.
                lone = question.size == 1 and isinstance(question, Evaluation)
                awake_s = self._awake_s if lone and two_cores_with(self.pid) else 0.0
                ended = partial(self._ended, held, question.size, done)
                self._process.start(question, ended, awake_s)
                started = True
        except ProcessDied as death:
            logger.warning("the inference process cannot be asked: %s", death)
        finally:
            if not started:
                self._lock.release()
        return started

    def _ended(self, held: _Held, n: int, done: Done, outcome: Any, seconds: float) -> None:
        """The process has answered what the event loop asked, or is lost."""
        if isinstance(outcome, ProcessDied):
            outcome = self._lost(outcome, held, n)
        else:
            self._deaths = 0
        self._lock.release()
        done(outcome, seconds)

    def _lost(self, death: ProcessDied, held: _Held, n: int) -> Exception:
        """What those hear who asked for ``n`` structures."""
        logger.error(
            "the inference process was lost: %s, with %d structures of %s version %s; "
            "it is started again",
            *(death, n, held.card.name, held.card.version),
        )
        if not isinstance(death, ProcessHung):
            return RuntimeFault(f"the inference process was lost: {death}")
        self._down()
        return nobody_evaluates("inference hangs and is started again")

    def memory(self, number: int) -> MemoryNeed:
        """What the code takes that evaluates a model."""
        return self._models[number].memory

    def forget(self, number: int) -> None:
        """Close one model."""
        with self._lock:
            if self._models.pop(number, None) is not None:
                with suppress(ProcessDied, RuntimeFault):
                    self._process.ask("forget", number)

    def kill(self) -> None:
        """End the process at once, without waiting for whoever asks it something."""
        self._closed = True
        self._process.kill()

    def close(self) -> None:
        """End the process."""
        self._closed = True
        with self._lock:
            self._process.stop()

    def _down(self) -> None:
        """Nobody is let in any more, so somebody else has to start another process."""
        if self._up.is_set():
            self._up.clear()
            threading.Thread(target=self._bring_up, name="forcegate-restart", daemon=True).start()

    def _bring_up(self) -> None:
        while not (self._closed or self._up.is_set()):
            with suppress(RuntimeFault), self._lock:
                self._ensure_running()
            if not self._up.is_set():
                time.sleep(_PAUSES_S[-1])

    def _runs(self) -> bool:
        return self._greeted and not self._closed and self._up.is_set()

    def _ensure_running(self) -> None:
        if self._closed:
            raise RuntimeFault("the inference process was ended")
        if not self._greeted:
            self._start(again=False)
        elif not self._process.alive():
            self._start(again=True)
        self._up.set()

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
                self._process = InferenceProcess(*self._options)
                if self._events is not None:
                    self._events.inference_restarted()
            try:
                self._process.greeting()
                self._greeted = True
                for number, held in self._models.items():
                    self._reopen(number, held)
                return
            except ProcessDied as death:
                logger.error("the inference process did not start: %s", death)
                reason = death
        self._down()
        raise RuntimeFault(f"the inference process does not start: {reason}") from reason

    def _open(self, number: int, held: _Held) -> None:
        card = held.card
        held.reason, need = self._process.ask("open", number, str(held.folder), card.card_digest)
        held.memory = MemoryNeed(*need)

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


class HostedRuntime:
    """One version of a model, held by the inference process; ``reason`` says why it is not the
    engine that evaluates it, and nothing if it is.
    """

    concurrency = 1

    def __init__(
        self, host: InferenceHost, number: int, folder: Path, card: ModelCard, reason: str = ""
    ) -> None:
        self.card = card
        self.folder = folder
        self.reason = reason
        self._host = host
        self._number = number

    def evaluate(self, structures: Structures) -> ModelOutput:
        """The model's answer for all ``structures``.

        Raises:
            RuntimeFault: if the model failed, or brought the process down.
            RuntimeUnavailable: if the process hung, or does not start.
        """
        output: ModelOutput = self._host.put(self._number, self._evaluation(structures))
        return output

    def start(self, structures: Structures, done: Done) -> bool:
        """The same without a thread that waits; see ``Start``."""
        return self._host.start(self._number, self._evaluation(structures), done)

    @property
    def moves(self) -> bool:
        """The engine moves runs; TorchScript does not."""
        return not self.reason

    def advance(self, chunk: Chunk) -> Moved:
        """The runs of ``chunk`` some steps further.

        Raises:
            RuntimeFault: if the model failed on all of them, or brought the process down.
            RuntimeUnavailable: if the process hung, or does not start.
        """
        moved: Moved = self._host.put(self._number, Movement(self._number, chunk))
        return moved

    def start_moving(self, chunk: Chunk, done: Done) -> bool:
        """The same without a thread that waits; see ``StartMoving``."""
        return self._host.start(self._number, Movement(self._number, chunk), done)

    @property
    def memory(self) -> MemoryNeed:
        """What the code that evaluates takes."""
        return self._host.memory(self._number)

    def _evaluation(self, structures: Structures) -> Evaluation:
        return Evaluation(self._number, structures, self.card.charges)

    def close(self) -> None:
        """Let the process forget the model."""
        self._host.forget(self._number)
