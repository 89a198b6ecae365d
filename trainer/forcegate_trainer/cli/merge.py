"""``forcegate-train merge``: several labelled files to one, as data are published."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_client.dataset import concatenate, load_dataset
from forcegate_client.dataset.store import write_dataset
from forcegate_trainer.cli.report import describe
from forcegate_trainer.errors import SettingsError


def merge(
    datasets: Annotated[list[Path], typer.Argument(help="Files with labels of one teacher.")],
    out: Annotated[Path, typer.Option(help="HDF5 file to write; it must not exist.")],
) -> None:
    """Put datasets together; the settings that made each are kept."""
    if out.exists():
        raise SettingsError(
            f"received --out {out}, which exists; published data are never rewritten: expected a "
            "new name"
        )
    parts = [load_dataset(path) for path in datasets]
    whole = replace(
        concatenate(parts),
        job={
            "command": "merge",
            "inputs": [
                {"content": part.content_hash(), "seed": part.seed, "job": dict(part.job)}
                for part in parts
            ],
        },
    )
    write_dataset(out, whole)
    describe(whole, out, Console(stderr=True))
