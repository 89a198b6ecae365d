"""``forcegate-train import``: frames with labels from elsewhere, as a dataset."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_trainer.cli.report import describe

__all__ = ["import_command"]


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
    describe(import_files(files, out, settings), out, Console(stderr=True))
