"""The options that all benchmarks of the gateway share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forcegate_bench.cores import layouts

__all__ = ["Core", "Fake", "Model", "OtherCore", "Repository", "require_two_cores"]

Repository = Annotated[Path, typer.Option("--model-repository")]
Model = Annotated[str, typer.Option("--model")]
Fake = Annotated[bool, typer.Option("--fake", help="A toy: whether the script works.")]
Core = Annotated[
    int, typer.Option("--core", help="Where inference runs, and the baseline in process.")
]
OtherCore = Annotated[int, typer.Option("--other-core", help="Where the traffic comes from.")]


def require_two_cores(core: int, other_core: int) -> tuple[int, int]:
    """Both of them.

    Raises:
        typer.BadParameter: unless these are two cores of this machine.
    """
    try:
        layouts(core, other_core)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return core, other_core
