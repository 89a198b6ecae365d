"""Options that several commands share, and the server connection they describe."""

from __future__ import annotations

from typing import Annotated

import typer

from forcegate_client.client import Client
from forcegate_client.retry import RetryPolicy

__all__ = [
    "CsvOption",
    "FormatOption",
    "InputArgument",
    "JsonOption",
    "ModelOption",
    "OverwriteOption",
    "SmilesOption",
    "UrlOption",
    "VersionOption",
    "connect",
    "one_form",
]

# Somebody sits before the terminal: a mistyped URL should not keep them waiting for a minute.
FIRST_ANSWER_WITHIN_S = 10.0

InputArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUT]…",
        help="Files, folders, patterns, or - for standard input: XYZ, SDF, SMILES, CSV, PDB, CIF, "
        "mol2, what ASE reads; also .gz, .bz2, .xz.",
    ),
]
SmilesOption = Annotated[
    list[str] | None, typer.Option(help="A SMILES, such as CCO; may be repeated.")
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", help="Format of all inputs, such as sdf. Default: by their names."),
]
UrlOption = Annotated[
    str | None,
    typer.Option(help="Server, e.g. http://gpu-box:8000. Default: FORCEGATE_URL, else this host."),
]
ModelOption = Annotated[str, typer.Option(help="Name of the served model.")]
VersionOption = Annotated[
    str | None,
    typer.Option(help="Version of the model. Default: the server's choice at the start."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a JSON document, no table.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print comma-separated values, no table.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]


def connect(url: str | None, *, give_up_after_s: float | None = 60.0) -> Client:
    """A client for a command; ``give_up_after_s=None`` waits for a server that once answered."""
    return Client(
        url,
        retry=RetryPolicy(
            give_up_after_s=give_up_after_s, first_answer_within_s=FIRST_ANSWER_WITHIN_S
        ),
    )


def one_form(json: bool, csv: bool) -> None:
    """Refuse to print two documents at once.

    Raises:
        typer.BadParameter: if both are wanted.
    """
    if json and csv:
        raise typer.BadParameter("--json and --csv exclude each other")
