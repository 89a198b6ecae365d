"""`forcegate-train export`: a run folder in, a version of a model repository out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_trainer.cli.progress import progress_bars

__all__ = ["export_command"]


def export_command(
    run: Annotated[Path, typer.Argument(help="Run folder written by `forcegate-train fit`.")],
    out: Annotated[Path, typer.Option(help="Model repository.")] = Path("model_repository"),
    version: Annotated[
        str | None, typer.Option(help="Version number; the next free one by default.")
    ] = None,
) -> None:
    """Calibrate the uncertainty; write TorchScript, weights, card and Triton's files."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_trainer.export.version import export

    console = Console()
    with progress_bars(console) as tell:
        folder = export(run, out, version, tell)
    console.print(f"exported {folder}")
