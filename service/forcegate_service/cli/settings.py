"""``forcegate-serve settings``, and names of settings that nobody knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import typer

from forcegate_service.api.access.keys import redacted
from forcegate_service.settings import Settings

__all__ = ["name_of", "show_settings", "unknown_settings"]

_PREFIX = "FORCEGATE_"
# Read by forcegate's clients, which may share an environment with the server.
_OF_CLIENTS = frozenset({"FORCEGATE_URL", "FORCEGATE_API_KEY", "FORCEGATE_ALLOW_PLAIN_HTTP"})
# Set by Kubernetes for a service of that name, unless `enableServiceLinks` is false.
_OF_CLUSTERS = re.compile(r"FORCEGATE_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP)\w*)")


def name_of(field: str) -> str:
    """The environment variable of a setting."""
    return _PREFIX + field.upper()


def unknown_settings(environment: Iterable[str]) -> list[str]:
    """A line for each variable that looks like a setting and is none: with the nearest that is."""
    known = {name_of(field) for field in Settings.model_fields} | _OF_CLIENTS
    lines = []
    for given in sorted(environment):
        name = given.upper()
        if not name.startswith(_PREFIX) or name in known or _OF_CLUSTERS.fullmatch(name):
            continue
        # Without what all of them begin with, by which they would all be alike.
        words = sorted(one.removeprefix(_PREFIX) for one in known)
        nearest = get_close_matches(name.removeprefix(_PREFIX), words, 1)
        meant = (
            f"did you mean {_PREFIX}{nearest[0]}?"
            if nearest
            else "see docs/settings.md for all of them"
        )
        lines.append(f"{given}: no such setting; {meant}")
    return lines


def show_settings(settings: Settings, given: Mapping[str, Any], *, as_json: bool) -> None:
    """Print each setting with its value, and whether it comes from the command line (``given``),
    the environment, or is the default. What looks like a key is cut.
    """
    rows = []
    for field in Settings.model_fields:
        source = "default"
        if field in settings.model_fields_set:
            source = "command line" if field in given else "environment"
        rows.append((name_of(field), _shown(getattr(settings, field)), source))
    if as_json:
        entries = [{"name": name, "value": value, "source": source} for name, value, source in rows]
        typer.echo(json.dumps(entries, indent=1, ensure_ascii=False))
        return
    table = [("setting", "value", "source")]
    table += [(name, "-" if value is None else str(value), source) for name, value, source in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(cells).rstrip())


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return redacted(str(value))
