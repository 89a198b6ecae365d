"""`forcegate-train export-weights`: what the engine reads, for a version that lacks it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

__all__ = ["export_weights_command"]


def export_weights_command(
    version: Annotated[Path, typer.Argument(help="Version folder of a model repository.")],
) -> None:
    """Add model.safetensors to a version, from its own weights; model.pt stays as it is."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_trainer.export.add_weights import add_weights

    deviation = add_weights(version)
    Console().print(
        f"added model.safetensors to {version}; forces within {deviation:.1g} eV/Å of model.pt"
    )
