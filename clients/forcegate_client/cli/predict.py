"""``forcegate predict``: energies and forces of all frames of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from rich.table import Table

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
from forcegate_client.client import Client
from forcegate_client.errors import DigestChanged
from forcegate_client.messages import PredictResponse, rows_of

__all__ = ["predict"]

STRUCTURES_PER_REQUEST = 128
ROWS_SHOWN = 50


def predict(
    file: FileArgument,
    out: Annotated[
        Path | None, typer.Option(help="Write frames with results here, in extended XYZ.")
    ] = None,
    url: UrlOption = None,
    model: ModelOption = "painn_base",
    version: VersionOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Predict energy, forces and uncertainty of every frame in FILE."""
    frames = read_frames(file)
    if out is not None:
        prepare_file(out, overwrite)
    with connect(url) as client:
        results = list(_predict_all(client, frames, model, version))
    if out is not None:
        write_extxyz(out, results)
    out_console().print(_table(results))
    hidden = len(results) - ROWS_SHOWN
    if hidden > 0:
        err_console().print(f"… and {hidden} more frames; --out keeps all of them")
    failed = [frame for frame in results if "forcegate_problem" in frame.info]
    if failed:
        warn(
            f"{len(failed)} of {len(results)} frames could not be predicted, the first because of "
            f"{failed[0].info['forcegate_detail']}"
        )
        raise typer.Exit(ExitCode.INCOMPLETE)


def _predict_all(
    client: Client, frames: list[Atoms], model: str, version: str | None
) -> Iterator[Atoms]:
    """Frames with a ``SinglePointCalculator``, or with the problem in ``info``."""
    digest: str | None = None
    for start in range(0, len(frames), STRUCTURES_PER_REQUEST):
        part = frames[start : start + STRUCTURES_PER_REQUEST]
        properties = ["energy", "forces", "uncertainty"]
        if all(frame.pbc.all() and frame.cell.rank == 3 for frame in part):
            properties.append("stress")
        response = client.predict(part, model, version, properties, on_error="partial")
        if digest not in (None, response.digest):
            raise DigestChanged(
                f"digest {response.digest} from frame {start} on",
                expected=f"{digest} for the whole file",
                action="run the command again",
            )
        version, digest = response.version, response.digest
        yield from _with_results(part, response)


def _with_results(frames: list[Atoms], response: PredictResponse) -> Iterator[Atoms]:
    found = response.predictions
    rows = rows_of(found.n_atoms.tolist())
    row_of = {index: row for row, index in enumerate(found.index.tolist())}
    for index, frame in enumerate(frames):
        result = frame.copy()
        result.info["forcegate_model"] = f"{response.model} {response.version}"
        if index not in row_of:
            problem = found.problems.get(index, {})
            result.info["forcegate_problem"] = str(problem.get("code", "no_answer"))
            result.info["forcegate_detail"] = str(problem.get("detail", ""))
            yield result
            continue
        row = row_of[index]
        columns: dict[str, Any] = {}
        if found.energy is not None:
            columns["energy"] = float(found.energy[row])
        if found.forces is not None:
            columns["forces"] = np.array(found.forces[rows[row]])
        if found.stress is not None:
            columns["stress"] = np.array(found.stress[row])
        result.calc = SinglePointCalculator(result, **columns)
        if found.energy_uncertainty is not None:
            result.info["energy_uncertainty"] = float(found.energy_uncertainty[row])
        if found.max_novelty is not None:
            result.info["max_novelty"] = float(found.max_novelty[row])
        if index in found.warnings:
            result.info["forcegate_warning"] = " | ".join(found.warnings[index])
        yield result


def _table(frames: list[Atoms]) -> Table:
    table = Table("frame", "formula")
    for heading in ("energy / eV", "max |F| / eV/Å", "σ(E) / meV", "novelty"):
        table.add_column(heading, justify="right")
    table.add_column("remarks")
    for index, frame in enumerate(frames[:ROWS_SHOWN]):
        info = frame.info
        numbers = ["", "", "", ""]
        if frame.calc is not None:
            strongest = np.linalg.norm(frame.get_forces(), axis=1).max()
            numbers = [
                f"{frame.get_potential_energy():.6f}",
                f"{strongest:.4f}",
                f"{1000 * info['energy_uncertainty']:.1f}" if "energy_uncertainty" in info else "",
                f"{info['max_novelty']:.2f}" if "max_novelty" in info else "",
            ]
        remark = info.get("forcegate_problem", info.get("forcegate_warning", ""))
        table.add_row(str(index), frame.get_chemical_formula(), *numbers, remark)
    return table
