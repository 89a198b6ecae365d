"""What all commands share: consoles, exit codes, and errors as one line."""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from forcegate_client.cli.outspoken import GuidingGroup, end_broken
from forcegate_client.cli.signals import Stopped, stoppable
from forcegate_client.errors import ForcegateError

__all__ = [
    "CommandError",
    "ExitCode",
    "ReportingGroup",
    "counted",
    "end_stopped",
    "err_console",
    "out_console",
    "say",
    "tell",
    "warn",
    "with_state",
]


class ExitCode(IntEnum):
    """What the shell sees; 2 is a usage error, and 128 and more a signal, as everywhere."""

    ERROR = 1
    INCOMPLETE = 3
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot go on; the message is for a person and fits one line."""


def out_console() -> Console:
    """Results: tables."""
    return Console()


def err_console() -> Console:
    """Everything that is not a result: progress, warnings, errors."""
    return Console(stderr=True)


def say(text: str) -> None:
    """One line of result, as it is: a path may hold brackets."""
    out_console().print(Text(text), soft_wrap=True)


def tell(text: str, *, word: str = "", style: str = "") -> None:
    """One line that is not a result, as it is, after a coloured ``word``."""
    err_console().print(Text.assemble((word, style), text), soft_wrap=True)


def warn(text: str) -> None:
    """One line of warning."""
    tell(f" {text}", word="warning:", style="yellow")


def counted(number: int, noun: str) -> str:
    """``1 frame``, ``2 frames``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def end_stopped(stop: KeyboardInterrupt, text: str) -> typer.Exit:
    """Say in one line what became of the work, and give what to raise."""
    tell(f" {text}", word=f"{Stopped.word(stop)}:", style="yellow")
    return typer.Exit(Stopped.exit_code(stop))


def with_state(error: BaseException, text: str) -> BaseException:
    """What to raise for work that ``error`` ended, of which ``text`` says what is kept.

    It stays one line: the last thing that a person reads has to say how to go on.
    """
    if isinstance(error, KeyboardInterrupt):
        return end_stopped(error, text)
    if isinstance(error, ForcegateError):
        error.action = "; ".join(filter(None, (error.action, text)))
    return error


class ReportingGroup(GuidingGroup):
    """Shows expected failures as one line and an exit code, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; ``ctx`` is a click context, wherever typer takes it from."""
        logger = logging.getLogger("forcegate")
        console = err_console()
        handler = RichHandler(console=console, show_time=False, show_path=False, markup=False)
        logger.addHandler(handler)
        try:
            with stoppable():
                return super().invoke(ctx)
        except (ForcegateError, CommandError) as error:
            line = " ".join(str(error).split())
            tell(f" {line}", word="error:", style="red")
            ctx.exit(ExitCode.ERROR)
        except KeyboardInterrupt as stop:
            tell(Stopped.word(stop))
            ctx.exit(Stopped.exit_code(stop))
        except (BrokenPipeError, EOFError) as error:
            end_broken(error, ctx)
        finally:
            logger.removeHandler(handler)
