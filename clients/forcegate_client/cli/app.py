"""The ``forcegate`` command: collects the subcommands and turns errors into one line each."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from forcegate_client.cli.console import ReportingGroup
from forcegate_client.cli.md import md
from forcegate_client.cli.merge import merge
from forcegate_client.cli.models import models
from forcegate_client.cli.predict import predict
from forcegate_client.cli.relax import relax
from forcegate_client.cli.screen import screen
from forcegate_client.cli.vibrations import vibrations

__all__ = ["app", "main"]

app = typer.Typer(
    cls=ReportingGroup,
    help="Energies, forces and molecular dynamics from a forcegate server.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(predict)
app.command()(relax)
app.command()(screen)
app.command()(merge)
app.command()(md)
app.command()(vibrations)
app.command()(models)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"forcegate-client {version('forcegate-client')}")
        raise typer.Exit


@app.callback()
def _forcegate(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version of this program. After a command, --version is the model's.",
        ),
    ] = False,
) -> None:
    # A callback makes typer keep subcommand names whatever their number.
    return


def main() -> None:
    """Entry point of the ``forcegate`` script."""
    app()
