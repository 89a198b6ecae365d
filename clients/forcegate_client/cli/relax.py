"""``forcegate relax``: bring every frame of a file to its nearest minimum."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from ase import Atoms
from rich.progress import track
from rich.table import Table

from forcegate_client.calculator import RemoteCalculator
from forcegate_client.cli.console import ExitCode, err_console, out_console, warn
from forcegate_client.cli.files import prepare_file, read_frames, write_extxyz
from forcegate_client.cli.options import (
    FileArgument,
    ModelOption,
    OverwriteOption,
    UrlOption,
    VersionOption,
    connect,
)
from forcegate_client.cli.relax_run import Optimizer, Outcome, relax_many, relax_one
from forcegate_client.client import Client
from forcegate_client.relaxation import RemoteEvaluator, evaluator

__all__ = ["relax"]


def relax(
    file: FileArgument,
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
        Path | None, typer.Option(help="Extended XYZ to write. Default: <FILE>_relaxed.extxyz.")
    ] = None,
    url: UrlOption = None,
    model: ModelOption = "painn_base",
    version: VersionOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Relax the positions of every frame in FILE; cells stay as they are."""
    frames = read_frames(file)
    target = prepare_file(out or Path(f"{file.stem}_relaxed.extxyz"), overwrite)
    done: dict[int, tuple[Atoms, Outcome]] = {}
    try:
        with connect(url, give_up_after_s=None) as client:
            asked, results = _results(client, frames, model, version, fmax, steps, optimizer)
            for index, frame, outcome in track(
                results, "relaxing", len(frames), console=err_console(), transient=True
            ):
                done[index] = frame, outcome
    finally:
        # What is done is kept, whatever stopped the rest; in the order of the file.
        if done:
            write_extxyz(target, [done[index][0] for index in sorted(done)])
    if asked.approval.get("relax", "approved") != "approved":
        warn(f"{model} {asked.version} is {asked.approval['relax']} for relaxation")
    outcomes = [done[index][1] for index in sorted(done)]
    out_console().print(_table(outcomes))
    out_console().print(f"written to {target}")
    if not all(outcome.converged for outcome in outcomes):
        raise typer.Exit(ExitCode.INCOMPLETE)


def _results(
    client: Client,
    frames: list[Atoms],
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


def _table(outcomes: list[Outcome]) -> Table:
    table = Table("frame", "formula")
    for heading in ("steps", "ΔE / eV", "energy / eV", "max |F| / eV/Å"):
        table.add_column(heading, justify="right")
    table.add_column("remarks")
    for index, outcome in enumerate(outcomes):
        table.add_row(
            str(index),
            outcome.formula,
            str(outcome.steps),
            _shown(outcome.energy_change_ev, "+.4f"),
            _shown(outcome.energy_ev, ".6f"),
            _shown(outcome.largest_force, ".4f"),
            outcome.remark,
        )
    return table


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
