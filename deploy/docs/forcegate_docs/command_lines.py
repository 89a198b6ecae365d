"""The reference of a command line, from the application that reads it."""

from __future__ import annotations

import enum
import inspect
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import typer
import typer.main

__all__ = ["command_line"]

_KINDS: dict[Any, str] = {str: "text", int: "whole number", float: "number", Path: "path"}


def command_line(name: str, app: typer.Typer) -> str:
    """A page with each command, its arguments and its options."""
    lines = [f"# {name}", ""]
    for words, command in _commands([name], typer.main.get_command(app)):
        lines += _described(words, command)
    return "\n".join(lines)


def _commands(words: list[str], command: Any) -> list[tuple[list[str], Any]]:
    found = [(words, command)]
    for name, sub in getattr(command, "commands", {}).items():
        if not sub.hidden:
            found += _commands([*words, name], sub)
    return found


def _described(words: list[str], command: Any) -> list[str]:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    options = [one for one in shown if one.param_type_name == "option"]
    usage = [*words, *(["[OPTIONS]"] if options else []), *(_name(one) for one in arguments)]
    if hasattr(command, "commands"):
        usage.append("COMMAND [ARGS]...")
    lines = [f"## {' '.join(words)}", "", "```text", " ".join(usage), "```", ""]
    if command.help:
        lines += [inspect.cleandoc(command.help).replace("\b\n", ""), ""]
    for parameters, title in ((arguments, "argument"), (options, "option")):
        if parameters:
            lines += [f"| {title} | value | default | |", "|---|---|---|---|"]
            lines += [_row(parameter) for parameter in parameters]
            lines.append("")
    return lines


def _name(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    if argument.metavar:
        return str(name)
    return f"{name}..." if argument.nargs == -1 else str(name)


def _row(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    if is_option:
        names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    else:
        names = f"`{_name(parameter)}`"
    value = "" if is_option and parameter.is_flag else _value(parameter)
    if getattr(parameter, "multiple", False) or parameter.nargs == -1:
        value += ", repeatable"
    text = " ".join((getattr(parameter, "help", None) or "").split())
    return f"| {names} | {_cell(value)} | {_default(parameter)} | {_cell(text)} |"


def _value(parameter: Any) -> str:
    kind = parameter.type_descriptor.annotation
    bounds = [f"≥ {parameter.min}"] * (parameter.min is not None)
    bounds += [f"≤ {parameter.max}"] * (parameter.max is not None)
    return " ".join([_kind(kind), ", ".join(bounds)]).strip()


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    inner = [each for each in get_args(kind) if each is not NoneType]
    if inner:
        return _kind(inner[0])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(f"`{one.value}`" for one in kind)
    return _KINDS.get(kind, str(kind))


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    if default is None or default == "":
        return ""
    if isinstance(default, bool):
        on, off = parameter.opts[0], (parameter.secondary_opts or [""])[0]
        chosen = on if default else off
        return f"`{chosen}`" if chosen else ""
    default = getattr(default, "value", default)
    if isinstance(default, (list, tuple)):
        return _cell(", ".join(f"`{item}`" for item in default))
    return _cell(f"`{default}`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
