"""Options of commands, made from the settings that they are about."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_type_hints

import typer

from forcegate_trainer.settings import settings_of

__all__ = ["with_settings"]

Command = Callable[..., None]


def with_settings(first: type[Any], *further: type[Any]) -> Callable[[Command], Command]:
    """A command that takes the settings of these classes as ``**settings``, an option for each.

    In the help they stand after the command's own options, but before those in a panel.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in signature.parameters.values()][:-1]
        in_panels = [p for p in own if p.annotation.__metadata__[0].rich_help_panel]
        parameters = [
            *(p for p in own if p not in in_panels),
            *_options_of(first),
            *in_panels,
            *(option for owner in further for option in _options_of(owner)),
        ]
        made = signature.replace(parameters=parameters)
        command.__signature__ = made  # type: ignore[attr-defined]
        return command

    return decorate


def _options_of(owner: type[Any]) -> Iterator[inspect.Parameter]:
    """An option for each setting of a class, with its default, bounds and help."""
    types = get_type_hints(owner)
    for name, (declared, described) in settings_of(owner).items():
        option = typer.Option(
            *described.flags,
            min=described.low,
            max=described.high,
            help=described.help,
            rich_help_panel=described.panel,
        )
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=declared.default,
            annotation=Annotated[types[name], option],
        )
