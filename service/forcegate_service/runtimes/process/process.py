"""The gateway's side of one inference process: starting it, asking it, and noticing its death."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from forcegate_service.contract.errors import RuntimeFault
from forcegate_service.contract.runtime import Done
from forcegate_service.machine import keeping_memory, rounding_alike
from forcegate_service.runtimes.process.channel import FAILED, Channel
from forcegate_service.runtimes.process.memory import StructureMemory
from forcegate_service.runtimes.process.questions import Question
from forcegate_service.runtimes.process.watch import Watch

__all__ = ["COMMAND", "InferenceProcess", "ProcessDied", "ProcessHung"]

COMMAND = (sys.executable, "-m", "forcegate_service.runtimes.process")
_MOMENT_S = 0.02
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
        # Nothing can be asked any more, whether or not it has ended yet.
        self._lost = False
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
        return not self._lost and self._process.poll() is None

    def greeting(self) -> None:
        """Wait until it is ready.

        Raises:
            ProcessDied: if it ended before, or says nothing.
        """
        self._receive(self._start_s)

    def ask(self, *message: Any) -> list[Any]:
        """Send one message and wait for its answer, as long as for a start.

        Raises:
            ProcessHung: if there is none in time; the process was killed.
            ProcessDied: if the process ended meanwhile.
            RuntimeFault: if it could not do what it was asked.
        """
        try:
            self._channel.send(*message)
        except EOFError:
            raise self._died() from None
        return self._receive(self._start_s)

    def put(self, question: Question) -> Any:
        """The answer of a model that was opened before.

        Raises:
            ProcessHung: if there is none in time; the process was killed.
            ProcessDied: if the process ended meanwhile.
            RuntimeFault: if the model failed.
        """
        try:
            question.send(self._channel, self._memory)
        except EOFError:
            raise self._died() from None
        return question.answer(self._receive(self._timeout_s), self._memory)

    def start(self, question: Question, done: Done, awake_s: float) -> None:
        """The same without a thread that waits: the running event loop calls ``done`` with what
        ``put`` would answer or raise. Until then nothing else may be asked. For ``awake_s`` the
        loop does not sleep.

        Raises:
            ProcessDied: if it cannot be asked.
        """
        try:
            question.send(self._channel, self._memory)
        except EOFError:
            raise self._hung_up() from None
        watch = Watch(self._channel.fileno(), awake_s)

        def end(outcome: Any, seconds: float = 0.0) -> None:
            watch.end()
            done(outcome, seconds)

        def look() -> bool:
            try:
                message = self._channel.take()
                if message is None:
                    return False
                told = _answer_in(message)
                outcome = question.answer(told, self._memory)
            except EOFError:
                end(self._hung_up())
            except Exception as error:
                end(error)
            else:
                end(outcome, told[0])
            return True

        watch.begin(look, self._timeout_s, lambda: end(self._give_up(self._timeout_s)))

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
            message = self._channel.receive(within_s=within_s)
        except TimeoutError:
            raise self._give_up(within_s) from None
        except EOFError:
            raise self._died() from None
        return _answer_in(message)

    def _give_up(self, waited_s: float) -> ProcessHung:
        # What it may say later belongs to no question any more.
        self._lost = True
        self._process.kill()
        return ProcessHung(f"it said nothing for {waited_s:g} s")

    def _hung_up(self) -> ProcessDied:
        # For a moment, since the event loop waits here: what ends closes its channel first. What is
        # slower to end is looked at when another one is started.
        self._lost = True
        try:
            return _ended(self._process.wait(_MOMENT_S))
        except subprocess.TimeoutExpired:
            return ProcessDied("it hung up")

    def _died(self) -> ProcessDied:
        # Its end of the channel is closed, so it is about to end if it has not yet.
        try:
            code = self._process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return _ended(code)


def _ended(code: int) -> ProcessDied:
    if code < 0:
        return ProcessDied(f"killed by {signal.Signals(-code).name}")
    return ProcessDied(f"ended with code {code}")


def _answer_in(message: list[Any]) -> list[Any]:
    outcome, *rest = message
    if outcome == FAILED:
        raise RuntimeFault(f"the model failed: {rest[0]}")
    return rest
