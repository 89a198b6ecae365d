"""Options that several commands share, and the server connection they describe."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from forcegate_client.http.calculator import ModelCalculator, RemoteCalculator
from forcegate_client.http.client import Client
from forcegate_client.local.calculator import LocalCalculator
from forcegate_client.local.engine import require_engine
from forcegate_client.local.models import LocalModels
from forcegate_client.retry import RetryPolicy

__all__ = [
    "CsvOption",
    "ExportName",
    "ExportOption",
    "FormatOption",
    "InputArgument",
    "JsonOption",
    "LocalOption",
    "ModelOption",
    "OverwriteOption",
    "RepositoryOption",
    "SmilesOption",
    "UrlOption",
    "VersionOption",
    "WhereOption",
    "calculator_of",
    "connect",
    "one_form",
    "one_place",
]

# Somebody sits before the terminal: a mistyped URL should not keep them waiting for a minute.
FIRST_ANSWER_WITHIN_S = 10.0


class ExportName(StrEnum):
    """Formats of ``--export``."""

    EXTXYZ = "extxyz"
    CSV = "csv"
    PARQUET = "parquet"


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
LocalOption = Annotated[
    bool, typer.Option("--local", help="Compute in this process, without a server.")
]
RepositoryOption = Annotated[
    Path | None,
    typer.Option(
        help="With --local: folder of <model>/<version>/. Default: the students that "
        "forcegate-models brings."
    ),
]
ModelOption = Annotated[
    str, typer.Option(help="Name of the model; with --local also the folder of a version.")
]
VersionOption = Annotated[
    str | None,
    typer.Option(help="Version of the model. Default: the newest that is approved, at the start."),
]
WhereOption = Annotated[
    str | None, typer.Option(help="Rows to select, such as 'max_novelty < 5'. Default: all.")
]
ExportOption = Annotated[
    ExportName | None, typer.Option("--export", help="Write the selected rows in this format too.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a JSON document, no table.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print comma-separated values, no table.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]


def connect(
    url: str | None,
    local: bool = False,
    repository: Path | None = None,
    *,
    give_up_after_s: float | None = 60.0,
) -> Client | LocalModels:
    """What answers a command; ``give_up_after_s=None`` waits for a server that once answered.

    Raises:
        typer.BadParameter: if both places are named.
        PackageMissing, ModelRefused: if there is no student here.
    """
    if one_place(url, local, repository):
        models = LocalModels(repository)
        require_engine()
        return models
    return Client(
        url,
        retry=RetryPolicy(
            give_up_after_s=give_up_after_s, first_answer_within_s=FIRST_ANSWER_WITHIN_S
        ),
    )


def one_place(url: str | None, local: bool, repository: Path | None) -> bool:
    """Whether students of this machine answer, and not a server.

    Raises:
        typer.BadParameter: if that is contradictory.
    """
    if local and url is not None:
        raise typer.BadParameter("--local and --url exclude each other")
    if repository is not None and not local:
        raise typer.BadParameter("--repository goes with --local")
    return local


def calculator_of(
    potential: Client | LocalModels,
    model: str,
    version: str | None,
    digest: str | None,
) -> ModelCalculator:
    """ASE's calculator of what answers; what validation says of the model is left to the command.

    Raises:
        ForcegateError: if there is no such model on this machine.
    """
    if isinstance(potential, Client):
        return RemoteCalculator(
            model=model, version=version, digest=digest, client=potential, use=""
        )
    return LocalCalculator(model, version, digest=digest, local=potential, use="")


def one_form(json: bool, csv: bool) -> None:
    """Refuse to print two documents at once.

    Raises:
        typer.BadParameter: if both are wanted.
    """
    if json and csv:
        raise typer.BadParameter("--json and --csv exclude each other")
