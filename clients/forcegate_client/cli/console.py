"""What all commands share: consoles, exit codes, and errors as one line."""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from typer.core import TyperGroup

from forcegate_client.errors import ForcegateError

__all__ = ["CommandError", "ExitCode", "ReportingGroup", "err_console", "out_console", "warn"]


class ExitCode(IntEnum):
    """What the shell sees; 2 is a usage error, as everywhere."""

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


def warn(text: str) -> None:
    """One line of warning."""
    err_console().print(f"[yellow]warning:[/yellow] {_escaped(text)}", soft_wrap=True)


class ReportingGroup(TyperGroup):
    """Shows expected failures as one line and an exit code, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; ``ctx`` is a click context, wherever typer takes it from."""
        logger = logging.getLogger("forcegate")
        console = err_console()
        handler = RichHandler(console=console, show_time=False, show_path=False, markup=False)
        logger.addHandler(handler)
        try:
            return super().invoke(ctx)
        except (ForcegateError, CommandError) as error:
            line = " ".join(str(error).split())
            console.print(f"[red]error:[/red] {_escaped(line)}", soft_wrap=True)
            ctx.exit(ExitCode.ERROR)
        except KeyboardInterrupt:
            console.print("interrupted")
            ctx.exit(ExitCode.INTERRUPTED)
        finally:
            logger.removeHandler(handler)


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
