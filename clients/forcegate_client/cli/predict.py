"""``forcegate predict``: energies and forces of all structures of some files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ase.calculators.singlepoint import SinglePointCalculator
from rich.markup import escape
from rich.table import Table

from forcegate_client.cli.console import ExitCode, err_console, out_console, warn
from forcegate_client.cli.files import opened, prepare_file, records_of, write_extxyz
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
from forcegate_client.client import Client
from forcegate_client.errors import DigestChanged
from forcegate_client.messages import PredictResponse, rows_of
from forcegate_client.reading.library import open_library
from forcegate_client.reading.record import Problem, Record

__all__ = ["predict"]

STRUCTURES_PER_REQUEST = 128
ROWS_SHOWN = 50


def predict(
    inputs: InputArgument = None,
    smiles: SmilesOption = None,
    format: FormatOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Write frames with results here, in extended XYZ.")
    ] = None,
    url: UrlOption = None,
    model: ModelOption = "painn_base",
    version: VersionOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Predict energy, forces and uncertainty of every structure in INPUT…"""
    if out is not None:
        prepare_file(out, overwrite)
    with opened(inputs, smiles, format) as files, connect(url) as client:
        library = open_library(files)
        results = list(_predict_all(client, records_of(library), model, version))
        library.close()
    if out is not None:
        write_extxyz(out, [result.atoms for result in results if result.atoms is not None])
    out_console().print(_table(results, several=len(files) > 1))
    hidden = len(results) - ROWS_SHOWN
    if hidden > 0:
        err_console().print(f"… and {hidden} more frames; --out keeps all of them")
    problems = [r.problem.at(r.origin) for r in results if r.problem is not None]
    if problems:
        warn(
            f"{len(problems)} of {len(results)} frames could not be predicted, the first because "
            f"of {problems[0].detail}"
        )
        raise typer.Exit(ExitCode.INCOMPLETE)


def _predict_all(
    client: Client, records: Iterable[Record], model: str, version: str | None
) -> Iterator[Record]:
    """Records whose atoms have a ``SinglePointCalculator``, or a problem."""
    digest: str | None = None
    waiting = iter(records)
    while part := list(islice(waiting, STRUCTURES_PER_REQUEST)):
        frames = [record.atoms for record in part if record.atoms is not None]
        if not frames:
            yield from part
            continue
        properties = ["energy", "forces", "uncertainty"]
        if all(frame.pbc.all() and frame.cell.rank == 3 for frame in frames):
            properties.append("stress")
        response = client.predict(frames, model, version, properties, on_error="partial")
        if digest not in (None, response.digest):
            raise DigestChanged(
                f"digest {response.digest} from {part[0].origin} on",
                expected=f"{digest} for the whole input",
                action="run the command again",
            )
        version, digest = response.version, response.digest
        results = _with_results([r for r in part if r.atoms is not None], response)
        for record in part:
            yield record if record.atoms is None else next(results)


def _with_results(records: list[Record], response: PredictResponse) -> Iterator[Record]:
    found = response.predictions
    rows = rows_of(found.n_atoms.tolist())
    row_of = {index: row for row, index in enumerate(found.index.tolist())}
    for index, record in enumerate(records):
        assert record.atoms is not None
        result = record.atoms.copy()
        result.info["forcegate_model"] = f"{response.model} {response.version}"
        if index not in row_of:
            problem = Problem.of(found.problems.get(index, {}))
            result.info["forcegate_problem"] = problem.code
            result.info["forcegate_detail"] = problem.at(record.origin).detail
            yield replace(record, atoms=result, problem=problem)
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
        yield replace(record, atoms=result)


def _table(results: list[Record], *, several: bool) -> Table:
    table = Table("frame")
    if several:
        table.add_column("file")
    labelled = any(result.label for result in results[:ROWS_SHOWN])
    if labelled:
        table.add_column("label")
    table.add_column("formula")
    for heading in ("energy / eV", "max |F| / eV/Å", "σ(E) / meV", "novelty"):
        table.add_column(heading, justify="right")
    table.add_column("remarks")
    for result in results[:ROWS_SHOWN]:
        origin = [str(result.index)] + [result.source] * several + [result.label] * labelled
        table.add_row(*map(escape, origin), *_cells(result))
    return table


def _cells(result: Record) -> list[str]:
    numbers = ["", "", "", ""]
    frame = result.atoms
    if frame is None:
        return ["", *numbers, "" if result.problem is None else result.problem.code]
    info = frame.info
    if frame.calc is not None:
        strongest = np.linalg.norm(frame.get_forces(), axis=1).max()
        numbers = [
            f"{frame.get_potential_energy():.6f}",
            f"{strongest:.4f}",
            f"{1000 * info['energy_uncertainty']:.1f}" if "energy_uncertainty" in info else "",
            f"{info['max_novelty']:.2f}" if "max_novelty" in info else "",
        ]
    remark = info.get("forcegate_problem", info.get("forcegate_warning", ""))
    return [frame.get_chemical_formula(), *numbers, remark]
