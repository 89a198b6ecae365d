"""`forcegate-train export-program`: what the gateway compiles, for a version that lacks it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

__all__ = ["export_program_command"]


def export_program_command(
    version: Annotated[Path, typer.Argument(help="Version folder of a model repository.")],
) -> None:
    """Add an exported program to a version, from its own weights; model.pt stays as it is."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_trainer.add_program import add_program

    deviation = add_program(version)
    Console().print(f"added model.pt2 to {version}; forces within {deviation:.1g} eV/Å of model.pt")
