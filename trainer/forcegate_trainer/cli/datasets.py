"""`forcegate-train import`, `merge` and `describe`: data sets as files."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_client.dataset.store import write_dataset
from forcegate_trainer.cli.console import print_counts
from forcegate_trainer.data.merging import merge_files
from forcegate_trainer.errors import SettingsError

__all__ = ["describe_command", "import_command", "merge"]


def import_command(
    files: Annotated[
        list[Path], typer.Argument(help="extxyz, ASE databases or trajectories, in eV and Å.")
    ],
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    method: Annotated[
        str, typer.Option(help="What made the labels, e.g. orca or vasp; part of their identity.")
    ] = "imported",
    level: Annotated[
        str, typer.Option(help="At which level, e.g. wB97M-V/def2-TZVPPD; told in the card.")
    ] = "",
    energy_key: Annotated[str, typer.Option(help="Where it is not ASE's own.")] = "energy",
    forces_key: Annotated[str, typer.Option(help="Where it is not ASE's own.")] = "forces",
    charges_key: Annotated[str, typer.Option(help="Of atomic charges, if any.")] = "charges",
    group_key: Annotated[
        str,
        typer.Option(help="Key in info that names a frame's molecule; else the geometry tells."),
    ] = "",
    validation_share: Annotated[
        float, typer.Option(min=0, max=1, help="Of the molecules, for validation.")
    ] = 0.04,
    test_share: Annotated[
        float, typer.Option(min=0, max=1, help="Of the molecules, held out for a test.")
    ] = 0.04,
    split_seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 0,
) -> None:
    """Make a dataset of frames that have energies and forces; splits are by molecule."""
    # Imported here because RDKit takes a second to import.
    from forcegate_trainer.data.importing import ImportSettings, import_files
    from forcegate_trainer.data.molecules.splits import Shares

    settings = ImportSettings(
        method=method,
        level=level,
        energy=energy_key,
        forces=forces_key,
        charges=charges_key,
        group=group_key,
        split_seed=split_seed,
        shares=Shares(validation_share, test_share),
    )
    print_counts(import_files(files, out, settings), out, Console(stderr=True))


def merge(
    datasets: Annotated[list[Path], typer.Argument(help="Files with labels of one teacher.")],
    out: Annotated[Path, typer.Option(help="HDF5 file to write; it must not exist.")],
    round_forces: Annotated[
        bool,
        typer.Option(
            "--round-forces",
            help="To 1e-3 eV/Å and charges to 1e-3 e, far below what the members of an ensemble "
            "differ by: a file a fifth smaller.",
        ),
    ] = False,
    likely_only: Annotated[
        bool,
        typer.Option(
            "--likely-only",
            help="Drop and count frames with ions that `molecules` makes no more.",
        ),
    ] = False,
    most: Annotated[
        int | None,
        typer.Option(min=1, help="Keep so many frames at most, drawn at random: a file's size."),
    ] = None,
) -> None:
    """Put datasets together; the settings that made each are kept."""
    if out.exists():
        raise SettingsError(
            f"received --out {out}, which exists; published data are never rewritten: expected a "
            "new name"
        )
    whole = merge_files(datasets, most=most, round_forces=round_forces, likely_only=likely_only)
    write_dataset(out, whole)
    print_counts(whole, out, Console(stderr=True))


def describe_command(
    datasets: Annotated[list[Path], typer.Argument(help="HDF5 files, described as one.")],
    out: Annotated[Path, typer.Option(help="Folder for statistics.json, statistics.md and PNGs.")],
) -> None:
    """Count and draw what datasets contain; labels are not needed."""
    # Importing what draws takes a second, which the other commands need not wait for.
    from forcegate_trainer.data.description.describe import MARKDOWN_NAME, describe_files

    total = describe_files(datasets, out).total
    Console(stderr=True).print(
        f"{out / MARKDOWN_NAME}: {total.frames} frames of {total.molecules} molecules and "
        f"{total.pairs} pairs",
        highlight=False,
        soft_wrap=True,
    )
