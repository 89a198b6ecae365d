"""``forcegate-train label``: a teacher's energies and forces for sampled frames."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_trainer.cli.report import describe
from forcegate_trainer.labelling import label_file
from forcegate_trainer.teachers.spec import DEFAULT_TEACHER, TBLITE_ACCURACY


def label(
    frames: Annotated[Path, typer.Argument(help="HDF5 file written by `sample`.")],
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    teacher: Annotated[
        str,
        typer.Option(
            help="'tblite:GFN2-xTB', 'orb:<model>', 'student:<version folder>' or "
            "'package.module:factory'."
        ),
    ] = DEFAULT_TEACHER,
    accuracy: Annotated[
        float, typer.Option(help="tblite's accuracy; smaller is tighter.")
    ] = TBLITE_ACCURACY,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: this one.")] = 2,
) -> None:
    """Label frames; stopped, it continues when called again."""
    console = Console(stderr=True)
    dataset = label_file(frames, out, teacher, accuracy=accuracy, workers=workers, console=console)
    describe(dataset, out, console)
