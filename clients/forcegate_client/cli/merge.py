"""``forcegate merge``: one file of all that was screened, also of the shards of an array."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forcegate_client.cli.console import ExitCode, out_console, warn
from forcegate_client.cli.screen import ExportName, ExportOption, WhereOption
from forcegate_client.extras import needing

__all__ = ["finish", "merge"]


def merge(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="--out of forcegate screen.")],
    where: WhereOption = None,
    export: ExportOption = None,
) -> None:
    """Join the results in FOLDER, select rows, and sum them up."""
    finish(folder, where, export)


def finish(folder: Path, where: str | None, kind: ExportName | None) -> None:
    """Merge, export, sum up, and say what failed.

    Raises:
        typer.Exit: with ``INCOMPLETE`` if there are failures.
    """
    # Imported here: h5py comes with an extra.
    with needing("screening", "results of screenings"):
        from forcegate_client.screening.exporting import ExportFormat, export
        from forcegate_client.screening.merging import merge as join
        from forcegate_client.screening.summary import write_summary
    results = join(folder, where=where)
    found = write_summary(results)
    out_console().print(
        f"{found['computed']} of {found['structures']} structures computed, "
        f"{found['selected']} selected; written to {results}",
        soft_wrap=True,
    )
    if kind is not None:
        out_console().print(f"exported to {export(results, ExportFormat(kind.value))}")
    if found["failed"]:
        reasons = ", ".join(f"{count} {code}" for code, count in found["failures"].items())
        again = found["failed_transiently"]
        hint = f"; {again} may pass: run the same forcegate screen again" if again else ""
        warn(f"{found['failed']} structures failed ({reasons}){hint}")
        raise typer.Exit(ExitCode.INCOMPLETE)
