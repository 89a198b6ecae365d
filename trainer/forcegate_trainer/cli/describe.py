"""``forcegate-train describe``: what a dataset contains, as numbers, tables and figures."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def describe_command(
    datasets: Annotated[list[Path], typer.Argument(help="HDF5 files, described as one.")],
    out: Annotated[Path, typer.Option(help="Folder for statistics.json, statistics.md and PNGs.")],
) -> None:
    """Count and draw what datasets contain; labels are not needed."""
    # Importing what draws takes a second, which the other commands need not wait for.
    from forcegate_trainer.data.description.files import MARKDOWN_NAME, describe_files

    total = describe_files(datasets, out).total
    Console(stderr=True).print(
        f"{out / MARKDOWN_NAME}: {total.frames} frames of {total.molecules} molecules and "
        f"{total.pairs} pairs",
        highlight=False,
        soft_wrap=True,
    )
