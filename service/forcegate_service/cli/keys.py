"""``forcegate-serve keys``: make, list and revoke keys; a running server notices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from forcegate_client.cli.outspoken import GuidingGroup
from forcegate_client.errors import ForcegateError
from forcegate_service.api.access.keyfile import create_key, read_keys, revoke_key
from forcegate_service.api.access.keys import SCOPES, Scope, now

__all__ = ["keys_commands"]

_KeysFile = Annotated[
    Path | None, typer.Option(help="File of the keys' records [FORCEGATE_KEYS_FILE].")
]


def keys_commands() -> typer.Typer:
    """The commands below ``keys``."""
    app = typer.Typer(cls=GuidingGroup, no_args_is_help=True, help="Make, list and revoke keys.")
    app.command("create")(_create)
    app.command("list")(_list)
    app.command("revoke")(_revoke)
    return app


def _create(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="Who gets the key.")],
    scope: Annotated[
        list[str], typer.Option(metavar="|".join(SCOPES), help="What it allows; may be repeated.")
    ],
    keys_file: _KeysFile = None,
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=36500, help="Refuse it after so many days [never].")
    ] = None,
    structures_per_hour: Annotated[
        int | None, typer.Option(min=1, help="Structures that it may have computed [no limit].")
    ] = None,
) -> None:
    """Make a key and print it, once: the file keeps only what it is recognised by."""
    with _one_line_errors():
        path = _chosen(context, keys_file)
        expires = None if expires_days is None else now() + timedelta(days=expires_days)
        key = create_key(
            path,
            name,
            _scopes(scope),
            expires=expires,
            structures_per_hour=structures_per_hour,
        )
        typer.echo(f"The key of {name}, shown this once; its record is in {path}:", err=True)
        typer.echo(key)


def _list(context: typer.Context, keys_file: _KeysFile = None) -> None:
    """Show id, name, scopes, dates and structures an hour of every key."""
    with _one_line_errors():
        records = read_keys(_chosen(context, keys_file))[0].values()
    rows = [("id", "name", "scopes", "created", "expires", "per_hour", "revoked")]
    rows += [
        (
            record.id,
            record.name,
            ",".join(record.scopes),
            _shown(record.created),
            _shown(record.expires) if record.expires else "-",
            str(record.structures_per_hour or "-"),
            _shown(record.revoked) if record.revoked else "-",
        )
        for record in records
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(cells).rstrip())


def _revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
    keys_file: _KeysFile = None,
) -> None:
    """Let a key be refused from now on, by running servers too."""
    with _one_line_errors():
        record = revoke_key(_chosen(context, keys_file), key_id)
    assert record.revoked is not None
    typer.echo(f"{record.id} ({record.name}) is revoked since {_shown(record.revoked)}", err=True)


def _scopes(given: list[str]) -> list[Scope]:
    for text in given:
        if text not in SCOPES:
            raise typer.BadParameter(f"scope {text!r}; expected one of {', '.join(SCOPES)}")
    return [scope for scope in SCOPES if scope in given]


def _chosen(context: typer.Context, keys_file: Path | None) -> Path:
    # The option may also stand before `keys`, where it is the server's; both win over the
    # environment. The other settings are of no concern here, be they right or wrong.
    path = keys_file or context.obj.get("keys_file") or os.environ.get("FORCEGATE_KEYS_FILE")
    if not path:
        raise typer.BadParameter("no key file; give --keys-file, or set FORCEGATE_KEYS_FILE")
    return Path(path)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except ForcegateError as error:
        typer.echo(f"forcegate-serve: {error}", err=True)
        raise typer.Exit(1) from None


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
