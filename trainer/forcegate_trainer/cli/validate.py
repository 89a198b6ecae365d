"""`forcegate-train validate`: a model and labelled data in, verdicts, a report and a card out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_trainer.cli.console import progress_bars
from forcegate_trainer.errors import SettingsError

__all__ = ["DEFAULT_CONTROL", "validate_command"]

DEFAULT_CONTROL = Path("docs/validation/teacher_control.json")


def validate_command(
    model: Annotated[
        str,
        typer.Argument(
            help="Version folder of a model repository, or a calculator: tblite:GFN2-xTB, "
            "package.module:factory."
        ),
    ],
    data: Annotated[
        list[Path],
        typer.Option(help="Labelled file; given again for each further one. All splits together."),
    ],
    suite: Annotated[
        str, typer.Option(help="quick: minutes, no verdicts; full: an hour or more, verdicts.")
    ] = "quick",
    report: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the report; VERSION/report, for the quick suite VERSION/report_quick."
        ),
    ] = None,
    control: Annotated[
        Path, typer.Option(help="Keeps the teacher's own runs; what is missing is added.")
    ] = DEFAULT_CONTROL,
    teacher: Annotated[
        str | None, typer.Option(help="Reference of a calculator; a version's is on its card.")
    ] = None,
) -> None:
    """Measure a model through the serving runtime; write its report, its verdicts and its card."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_service.machine import round_alike_in_every_batch
    from forcegate_trainer.validation.report import REPORT_NAME
    from forcegate_trainer.validation.run import validate
    from forcegate_trainer.validation.settings import suite_named
    from forcegate_trainer.validation.subject import open_subject

    console = Console()
    round_alike_in_every_batch()
    chosen = suite_named(suite)
    with open_subject(model, teacher) as subject:
        folder = report or _report_folder(subject.folder, chosen.judges)
        with progress_bars(console) as tell:
            verdicts = validate(subject, tuple(data), chosen, folder, control, tell)
    for use, verdict in verdicts.items():
        console.print(f"{use}: [bold]{verdict.status.replace('_', ' ')}[/]", highlight=False)
    console.print(f"report in {folder / REPORT_NAME}")


def _report_folder(version: Path | None, judges: bool) -> Path:
    if version is None:
        raise SettingsError("received a calculator and no --report; expected a folder for it")
    return version / ("report" if judges else "report_quick")
