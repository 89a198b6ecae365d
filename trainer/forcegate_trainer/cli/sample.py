"""`forcegate-train sample`, `contacts` and `explore`: frames without labels."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_client.dataset import Split
from forcegate_trainer.cli.console import print_counts
from forcegate_trainer.data.molecules.table import read_table
from forcegate_trainer.data.sampling.complexes import ComplexSettings, sample_complexes
from forcegate_trainer.data.sampling.run import sample_file
from forcegate_trainer.data.sampling.settings import SamplingSettings
from forcegate_trainer.errors import SettingsError


def sample(
    molecules: Annotated[Path, typer.Argument(help="Table (.csv) or list (.smi) of molecules.")],
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    driver: Annotated[
        str, typer.Option(help="What dynamics runs under: 'mmff' or a teacher.")
    ] = "mmff",
    temperatures: Annotated[
        str, typer.Option(help="In K, separated by commas; repeat one for more of it.")
    ] = "100,300,500,1000",
    frames_per_molecule: Annotated[int, typer.Option(min=1)] = 12,
    conformers: Annotated[int, typer.Option(min=1, help="Starting geometries.")] = 4,
    splits: Annotated[
        str, typer.Option(help="Which splits to sample, separated by commas.")
    ] = "train,validation,test",
    molecules_per_split: Annotated[
        int | None, typer.Option(min=1, help="A random few of each split; without it, all.")
    ] = None,
    equilibration_steps: Annotated[int, typer.Option(min=0, help="Of 1 fs.")] = 200,
    decorrelation_steps: Annotated[int, typer.Option(min=1, help="Of 1 fs, between frames.")] = 200,
    settle: Annotated[
        str | None, typer.Option(help="A teacher to run each force-field frame on for a while.")
    ] = None,
    settle_steps: Annotated[int, typer.Option(min=1, help="Of 1 fs.")] = 30,
    distorted_share: Annotated[float, typer.Option(help="Stretched bonds, turned torsions.")] = 0.1,
    dimer_share: Annotated[float, typer.Option(help="Pairs of small molecules.")] = 0.05,
    seed: Annotated[int, typer.Option()] = 0,
    split_seed: Annotated[int, typer.Option(help="As in `molecules`.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: this one.")] = 2,
) -> None:
    """Sample geometries; stopped, it continues when called again."""
    settings = SamplingSettings(
        driver=driver,
        temperatures=parse_temperatures(temperatures),
        frames_per_molecule=frames_per_molecule,
        conformers=conformers,
        seed=seed,
        split_seed=split_seed,
        splits=parse_splits(splits),
        molecules_per_split=molecules_per_split,
        equilibration_steps=equilibration_steps,
        decorrelation_steps=decorrelation_steps,
        settle=settle,
        settle_steps=settle_steps,
        distorted_share=distorted_share,
        dimer_share=dimer_share,
    )
    console = Console(stderr=True)
    table = read_table(molecules, split_seed)
    dataset = sample_file(table, out, settings, workers=workers, console=console)
    print_counts(dataset, out, console)


def parse_temperatures(text: str) -> tuple[float, ...]:
    """Temperatures in K of a command line."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(
            f"received --temperatures {text!r}; expected numbers in K, such as 300,500"
        ) from error


def parse_splits(text: str) -> tuple[str, ...]:
    """Names of splits of a command line."""
    known = [split.name.lower() for split in Split]
    received = tuple(part.strip() for part in text.split(","))
    if not set(received) <= set(known):
        raise SettingsError(f"received --splits {text!r}; expected some of {', '.join(known)}")
    return received


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
    print_counts(dataset, out, console)


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
    steps: Annotated[int, typer.Option(min=1, help="Of 1 fs, from each start.")] = 150,
    every: Annotated[
        int | None, typer.Option(min=1, help="Steps between candidates; only the last, if not set.")
    ] = None,
    keep: Annotated[
        int, typer.Option(min=1, help="Most novel candidates to keep of each trajectory.")
    ] = 1,
    temperatures: Annotated[
        str, typer.Option(help="In K, dealt out to the starts; each start's own, if not set.")
    ] = "",
    starts_per_molecule: Annotated[int, typer.Option(min=1)] = 3,
    seed: Annotated[int, typer.Option()] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: this one.")] = 2,
) -> None:
    """Run a student or a teacher from known frames and keep what it finds; resumable."""
    # Importing what moves molecules takes seconds, which the other commands need not wait for.
    from forcegate_trainer.data.sampling.exploration import ExplorationSettings, explore_file

    settings = ExplorationSettings(
        driver=driver,
        steps=steps,
        every=every or steps,
        keep=keep,
        temperatures=parse_temperatures(temperatures) if temperatures else (),
        starts_per_molecule=starts_per_molecule,
        seed=seed,
    )
    console = Console(stderr=True)
    print_counts(
        explore_file(frames, out, settings, workers=workers, console=console), out, console
    )
