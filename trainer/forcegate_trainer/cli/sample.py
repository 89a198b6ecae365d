"""`forcegate-train sample`, `contacts` and `explore`: frames without labels."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from forcegate_client.dataset import Split
from forcegate_trainer.cli.console import print_counts
from forcegate_trainer.cli.options import with_settings
from forcegate_trainer.data.molecules.table import read_table
from forcegate_trainer.data.sampling.complexes import sample_complexes
from forcegate_trainer.data.sampling.run import sample_file
from forcegate_trainer.data.sampling.settings import (
    ComplexSettings,
    ExplorationSettings,
    SamplingSettings,
)
from forcegate_trainer.errors import SettingsError

__all__ = ["contacts", "explore", "sample"]

Table = Annotated[Path, typer.Argument(help="Table (.csv) or list (.smi) of molecules.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes; 0: this one.")]


@with_settings(SamplingSettings)
def sample(
    molecules: Table,
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    temperatures: Annotated[
        str, typer.Option(help="In K, separated by commas; repeat one for more of it.")
    ] = "100,300,500,1000",
    splits: Annotated[
        str, typer.Option(help="Which splits to sample, separated by commas.")
    ] = "train,validation,test",
    workers: Workers = 2,
    **settings: Any,
) -> None:
    """Sample geometries; stopped, it continues when called again."""
    wanted = SamplingSettings(_temperatures(temperatures), _splits(splits), **settings)
    console = Console(stderr=True)
    table = read_table(molecules, wanted.split_seed)
    dataset = sample_file(table, out, wanted, workers=workers, console=console)
    print_counts(dataset, out, console)


@with_settings(ComplexSettings)
def contacts(
    molecules: Table,
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    splits: Annotated[
        str, typer.Option(help="Whose molecules to take, separated by commas.")
    ] = "train",
    workers: Workers = 2,
    **settings: Any,
) -> None:
    """Put molecules next to each other as they bind; stopped, it continues when called again."""
    wanted = ComplexSettings(splits=_splits(splits), **settings)
    console = Console(stderr=True)
    table = read_table(molecules, wanted.split_seed)
    dataset = sample_complexes(table, out, wanted, workers=workers, console=console)
    print_counts(dataset, out, console)


@with_settings(ExplorationSettings)
def explore(
    frames: Annotated[
        Path, typer.Argument(help="Dataset to start from; for a student training molecules only.")
    ],
    driver: Annotated[
        str,
        typer.Option(
            "--driver",
            "--student",
            help="What moves the molecules: the folder of an exported version or of a run, or a "
            "teacher such as aimnet2-member0.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="HDF5 file to write, without labels.")],
    every: Annotated[
        int | None, typer.Option(min=1, help="Steps between candidates; only the last, if not set.")
    ] = None,
    temperatures: Annotated[
        str, typer.Option(help="In K, dealt out to the starts; each start's own, if not set.")
    ] = "",
    workers: Workers = 2,
    **settings: Any,
) -> None:
    """Run a student or a teacher from known frames and keep what it finds; resumable."""
    # Importing what moves molecules takes seconds, which the other commands need not wait for.
    from forcegate_trainer.data.sampling.exploration import explore_file

    wanted = ExplorationSettings(
        driver,
        every=every or settings["steps"],
        temperatures=_temperatures(temperatures) if temperatures else (),
        **settings,
    )
    console = Console(stderr=True)
    dataset = explore_file(frames, out, wanted, workers=workers, console=console)
    print_counts(dataset, out, console)


def _temperatures(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(
            f"received --temperatures {text!r}; expected numbers in K, such as 300,500"
        ) from error


def _splits(text: str) -> tuple[str, ...]:
    known = [split.name.lower() for split in Split]
    received = tuple(part.strip() for part in text.split(","))
    if not set(received) <= set(known):
        raise SettingsError(f"received --splits {text!r}; expected some of {', '.join(known)}")
    return received
