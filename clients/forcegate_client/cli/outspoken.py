"""Failures that typer would keep to itself.

It ends a command with 1 on every broken pipe, as if it were that of ``| head``, although a server
or a process that went away breaks one too. It ends it with 130 on Ctrl-C, and with "Aborted!" where
a file or a connection ends early, and the help of a group that was called without a command goes to
standard output. What a command of this project ends with is said on standard error.
"""

from __future__ import annotations

import select
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from forcegate_client.cli.signals import Stopped
from forcegate_client.errors import ForcegateError

__all__ = ["GuidingGroup", "OutspokenCommand", "OutspokenGroup", "end_broken", "run"]

_UNFORESEEN = _REFUSED = 1


class OutspokenCommand(TyperCommand):
    """The one command of a script, which fails in no silence, and in words where it is refused."""

    def invoke(self, ctx: Any) -> Any:
        """Run it; ``ctx`` is a click context, wherever typer takes it from."""
        try:
            return _spoken(super().invoke, ctx)
        except ForcegateError as error:
            # What was received, expected and can be done about it: a traceback would hide that.
            print(f"error: {error}", file=sys.stderr)
            ctx.exit(_REFUSED)


class GuidingGroup(TyperGroup):
    """Commands of which one must be named: without one, the help is what is wrong and not output.

    It goes to standard error with exit code 2, as for every other error of use; ``--help`` is what
    prints it as output.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; ``ctx`` is a click context, wherever typer takes it from."""
        if args or not self.no_args_is_help or ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        # Typer prints the help with colours on its own, to standard output.
        with redirect_stdout(sys.stderr):
            return super().parse_args(ctx, args)


class OutspokenGroup(GuidingGroup):
    """Commands that fail in no silence."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; ``ctx`` is a click context, wherever typer takes it from."""
        return _spoken(super().invoke, ctx)


def run(function: Callable[..., Any]) -> None:
    """Run a function as the command of a script, as ``typer.run`` does, but never in silence."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(cls=OutspokenCommand)(function)
    app()


def end_broken(error: BrokenPipeError | EOFError, ctx: Any) -> None:
    """End with what broke, shown as any other unforeseen error is; with the bare error if it is
    only that nobody reads the output any more.
    """
    if isinstance(error, BrokenPipeError) and _nobody_reads_the_output():
        raise error
    traceback.print_exception(error)
    ctx.exit(_UNFORESEEN)


def _spoken(invoke: Callable[[Any], Any], ctx: Any) -> Any:
    try:
        return invoke(ctx)
    except KeyboardInterrupt as stop:
        print(Stopped.word(stop), file=sys.stderr)
        ctx.exit(Stopped.exit_code(stop))
    except (BrokenPipeError, EOFError) as error:
        end_broken(error, ctx)


def _nobody_reads_the_output() -> bool:
    """Whether standard output is a pipe whose reader, ``head`` say, has had enough."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
