"""``forcegate merge``: one file of all that was screened, also of the shards of an array."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forcegate_client.cli.console import ExitCode, counted, say, warn
from forcegate_client.cli.options import ExportName, ExportOption, WhereOption
from forcegate_client.extras import needing
from forcegate_client.remarks import verdict_remark

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
        from forcegate_client.screening.failures import write_failures
        from forcegate_client.screening.merging import merge as join
        from forcegate_client.screening.summary import write_summary
    results = join(folder, where=where)
    found = write_summary(results)
    failures = write_failures(results)
    say(
        f"{found['computed']} of {counted(found['structures'], 'structure')} computed, "
        f"{found['selected']} selected; written to {results}"
    )
    if kind is not None:
        say(f"exported to {export(results, ExportFormat(kind.value))}")
    model = found["model"]
    for use in found["verdict"]:
        if text := verdict_remark(found["verdict"], use):
            warn(f"{model['name']} {model['version']}: {text}")
    if found["warned"]:
        warn(f"{counted(found['warned'], 'structure')} with remarks: {_said(found['warnings'])}")
    if failures is not None:
        reasons = ", ".join(f"{count} {code}" for code, count in found["failures"].items())
        again = found["failed_transiently"]
        hint = f"; {again} may pass: run the same forcegate screen again" if again else ""
        warn(f"{counted(found['failed'], 'structure')} failed ({reasons}), see {failures}{hint}")
        raise typer.Exit(ExitCode.INCOMPLETE)


def _said(remarks: dict[str, int]) -> str:
    """The remarks, those on most structures first."""
    shown = [f"{count} × {text}" for text, count in list(remarks.items())[:3]]
    return "; ".join([*shown, "…"] if len(remarks) > len(shown) else shown)
