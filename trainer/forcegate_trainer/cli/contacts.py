"""``forcegate-train contacts``: pairs and clusters of molecules to frames without labels."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_trainer.cli.report import describe
from forcegate_trainer.cli.sample import parse_splits
from forcegate_trainer.data.molecules.table import read_table
from forcegate_trainer.data.sampling.complexes import ComplexSettings, sample_complexes


def contacts(
    molecules: Annotated[Path, typer.Argument(help="Table (.csv) or list (.smi) of molecules.")],
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    pairs: Annotated[
        int, typer.Option(min=0, help="Pairs in an oriented contact, at several distances each.")
    ] = 4000,
    clusters: Annotated[int, typer.Option(min=0, help="Clusters of 3 to 12 molecules.")] = 1000,
    splits: Annotated[
        str, typer.Option(help="Whose molecules to take, separated by commas.")
    ] = "train",
    seed: Annotated[int, typer.Option()] = 0,
    split_seed: Annotated[int, typer.Option(help="As in `molecules`.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: this one.")] = 2,
) -> None:
    """Put molecules next to each other as they bind; stopped, it continues when called again."""
    settings = ComplexSettings(pairs, clusters, parse_splits(splits), seed, split_seed)
    console = Console(stderr=True)
    table = read_table(molecules, split_seed)
    dataset = sample_complexes(table, out, settings, workers=workers, console=console)
    describe(dataset, out, console)
