"""``forcegate relax``: bring every structure of some files to its nearest minimum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from ase import Atoms
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from forcegate_client.calculator import RemoteCalculator
from forcegate_client.cli.console import ExitCode, err_console, out_console, warn
from forcegate_client.cli.files import opened, prepare_file, records_of, stem_of, write_extxyz
from forcegate_client.cli.options import (
    FormatOption,
    InputArgument,
    ModelOption,
    OverwriteOption,
    SmilesOption,
    UrlOption,
    VersionOption,
    connect,
)
from forcegate_client.cli.relax_run import Optimizer, Outcome, relax_many, relax_one, unread
from forcegate_client.client import Client
from forcegate_client.reading.library import open_library
from forcegate_client.reading.record import Record
from forcegate_client.relaxation import RemoteEvaluator, evaluator

__all__ = ["relax"]


def relax(
    inputs: InputArgument = None,
    smiles: SmilesOption = None,
    format: FormatOption = None,
    fmax: Annotated[float, typer.Option(min=0.0, help="Largest force left, eV/Å.")] = 0.02,
    steps: Annotated[int, typer.Option(min=1, help="Most steps for each frame.")] = 500,
    optimizer: Annotated[
        Optimizer | None,
        typer.Option(
            help="lbfgs: a frame at a time. fire: many frames at once. "
            "Default: fire for several frames, lbfgs for one."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Extended XYZ to write. Default: <INPUT>_relaxed.extxyz.")
    ] = None,
    url: UrlOption = None,
    model: ModelOption = "painn_base",
    version: VersionOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Relax the positions of every structure in INPUT…; cells stay as they are."""
    with opened(inputs, smiles, format) as files:
        target = prepare_file(out or Path(f"{stem_of(files)}_relaxed.extxyz"), overwrite)
        library = open_library(files)
        records = list(records_of(library))
        library.close()
    done: dict[int, tuple[Atoms | None, Outcome]] = {
        place: (None, unread(record))
        for place, record in enumerate(records)
        if record.atoms is None
    }
    places = [place for place, record in enumerate(records) if record.atoms is not None]
    frames = [record.atoms for record in records if record.atoms is not None]
    if not frames:
        out_console().print(_table(records, done, several=len(files) > 1))
        raise typer.Exit(ExitCode.INCOMPLETE)
    try:
        with connect(url, give_up_after_s=None) as client:
            asked, results = _results(client, frames, model, version, fmax, steps, optimizer)
            for index, frame, outcome in track(
                results, "relaxing", len(frames), console=err_console(), transient=True
            ):
                done[places[index]] = frame, outcome
    finally:
        # What is done is kept, whatever stopped the rest; in the order of the input.
        kept = [frame for _, (frame, _) in sorted(done.items()) if frame is not None]
        if kept:
            write_extxyz(target, kept)
    if asked.approval.get("relax", "approved") != "approved":
        warn(f"{model} {asked.version} is {asked.approval['relax']} for relaxation")
    out_console().print(_table(records, done, several=len(files) > 1))
    out_console().print(f"written to {target}")
    if not all(outcome.converged for _, outcome in done.values()):
        raise typer.Exit(ExitCode.INCOMPLETE)


def _results(
    client: Client,
    frames: Sequence[Atoms],
    model: str,
    version: str | None,
    fmax: float,
    steps: int,
    optimizer: Optimizer | None,
) -> tuple[RemoteCalculator | RemoteEvaluator, Iterator[tuple[int, Atoms, Outcome]]]:
    """Who is asked, and what comes out as it is done."""
    if len(frames) > 1 and optimizer is not Optimizer.LBFGS:
        evaluate = evaluator(client, model, version)
        return evaluate, relax_many(frames, evaluate, fmax, steps)
    calculator = RemoteCalculator(model=model, version=version, client=client)
    chosen = optimizer or Optimizer.LBFGS
    one_by_one = (
        (index, frame, relax_one(frame, calculator, fmax, steps, chosen))
        for index, frame in enumerate(frames)
    )
    return calculator, one_by_one


def _table(
    records: list[Record], done: dict[int, tuple[Atoms | None, Outcome]], *, several: bool
) -> Table:
    table = Table("frame")
    if several:
        table.add_column("file")
    table.add_column("formula")
    for heading in ("steps", "ΔE / eV", "energy / eV", "max |F| / eV/Å"):
        table.add_column(heading, justify="right")
    table.add_column("remarks")
    for place, (_, outcome) in sorted(done.items()):
        record = records[place]
        table.add_row(
            *map(escape, [str(record.index)] + [record.source] * several),
            outcome.formula,
            str(outcome.steps),
            _shown(outcome.energy_change_ev, "+.4f"),
            _shown(outcome.energy_ev, ".6f"),
            _shown(outcome.largest_force, ".4f"),
            escape(outcome.remark),
        )
    return table


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
