"""``forcegate-train explore``: frames that a student's own dynamics finds."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_trainer.cli.report import describe
from forcegate_trainer.cli.sample import parse_temperatures


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
    describe(explore_file(frames, out, settings, workers=workers, console=console), out, console)
