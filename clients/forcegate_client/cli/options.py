"""Options that several commands share, and the server connection they describe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forcegate_client.client import Client
from forcegate_client.retry import RetryPolicy

__all__ = [
    "FileArgument",
    "ModelOption",
    "OverwriteOption",
    "UrlOption",
    "VersionOption",
    "connect",
]

# Somebody sits before the terminal: a mistyped URL should not keep them waiting for a minute.
FIRST_ANSWER_WITHIN_S = 10.0

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Any file that ASE reads.")]
UrlOption = Annotated[
    str | None,
    typer.Option(help="Server, e.g. http://gpu-box:8000. Default: FORCEGATE_URL, else this host."),
]
ModelOption = Annotated[str, typer.Option(help="Name of the served model.")]
VersionOption = Annotated[
    str | None, typer.Option(help="Model version. Default: the server's choice at the start.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]


def connect(url: str | None, *, give_up_after_s: float | None = 60.0) -> Client:
    """A client for a command; ``give_up_after_s=None`` waits for a server that once answered."""
    return Client(
        url,
        retry=RetryPolicy(
            give_up_after_s=give_up_after_s, first_answer_within_s=FIRST_ANSWER_WITHIN_S
        ),
    )
