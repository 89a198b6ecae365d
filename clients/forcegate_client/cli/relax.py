"""``forcegate relax``: bring every frame of a file to its nearest minimum."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from ase import Atoms
from ase.optimize import FIRE, LBFGS
from rich.progress import track
from rich.table import Table

from forcegate_client.bonds import bond_changes, bonded_pairs
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
from forcegate_client.errors import UnprocessableRequest
from forcegate_client.nve import snapshot

__all__ = ["relax"]


class Optimizer(StrEnum):
    """Optimisers of ASE that need nothing but forces."""

    FIRE = "fire"
    LBFGS = "lbfgs"


@dataclass(frozen=True)
class Outcome:
    """How one relaxation went; energies in eV, forces in eV/Å."""

    formula: str
    steps: int
    energy_change_ev: float
    energy_ev: float
    largest_force: float
    converged: bool
    remark: str


def relax(
    file: FileArgument,
    fmax: Annotated[float, typer.Option(min=0.0, help="Largest force left, eV/Å.")] = 0.02,
    steps: Annotated[int, typer.Option(min=1, help="Most steps for each frame.")] = 500,
    optimizer: Annotated[Optimizer, typer.Option(help="ASE optimiser.")] = Optimizer.LBFGS,
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
    outcomes: list[Outcome] = []
    results: list[Atoms] = []
    try:
        with connect(url, give_up_after_s=None) as client:
            calculator = RemoteCalculator(model=model, version=version, client=client)
            for frame in track(frames, "relaxing", console=err_console(), transient=True):
                outcomes.append(_relax(frame, calculator, fmax, steps, optimizer))
                results.append(frame)
    finally:
        # What is done is kept, whatever stopped the rest.
        if results:
            write_extxyz(target, results)
    if calculator.approval.get("relax", "approved") != "approved":
        warn(f"{model} {calculator.version} is {calculator.approval['relax']} for relaxation")
    out_console().print(_table(outcomes))
    out_console().print(f"written to {target}")
    if not all(outcome.converged for outcome in outcomes):
        raise typer.Exit(ExitCode.INCOMPLETE)


def _relax(
    atoms: Atoms, calculator: RemoteCalculator, fmax: float, steps: int, optimizer: Optimizer
) -> Outcome:
    """Relax in place; the result carries its energy and forces."""
    formula = atoms.get_chemical_formula()
    atoms.calc = calculator
    bonds = bonded_pairs(atoms)
    engine = (FIRE if optimizer is Optimizer.FIRE else LBFGS)(atoms, logfile=None)
    try:
        start = atoms.get_potential_energy()
        converged = bool(engine.run(fmax=fmax, steps=steps))
        energy = atoms.get_potential_energy()
    except UnprocessableRequest as error:
        atoms.calc = None
        nan = float("nan")
        return Outcome(formula, engine.nsteps, nan, nan, nan, False, str(error))
    forces = atoms.get_forces()
    atoms.calc = snapshot(atoms).calc
    remark = "bonds changed" if bond_changes(bonds, atoms) else ""
    return Outcome(
        formula=formula,
        steps=engine.nsteps,
        energy_change_ev=energy - start,
        energy_ev=energy,
        largest_force=float(np.linalg.norm(forces, axis=1).max()),
        converged=converged,
        remark=remark if converged else "; ".join(filter(None, ["not converged", remark])),
    )


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
            f"{outcome.energy_change_ev:+.4f}",
            f"{outcome.energy_ev:.6f}",
            f"{outcome.largest_force:.4f}",
            outcome.remark,
        )
    return table
