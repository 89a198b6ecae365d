"""``forcegate predict``: energies and forces of all structures of some files."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from ase import Atoms

from forcegate_client.cli.console import (
    ExitCode,
    counted,
    out_console,
    tell,
    warn,
    with_state,
)
from forcegate_client.cli.files import opened, prepare_file, records_of, save_frames
from forcegate_client.cli.frame_results import (
    FrameResult,
    as_csv,
    as_json,
    frames_of,
    headings,
    names_of,
)
from forcegate_client.cli.options import (
    CsvOption,
    FormatOption,
    InputArgument,
    JsonOption,
    LocalOption,
    ModelOption,
    OverwriteOption,
    RepositoryOption,
    SmilesOption,
    UrlOption,
    VersionOption,
    connect,
    one_form,
)
from forcegate_client.cli.signals import undisturbed
from forcegate_client.cli.tables import ResultTable
from forcegate_client.electrons import electrons_of
from forcegate_client.errors import DigestChanged, ForcegateError
from forcegate_client.messages import Predictions, PredictResponse, rows_of
from forcegate_client.potential import Potential
from forcegate_client.reading.library import open_library
from forcegate_client.reading.record import Problem
from forcegate_client.remarks import Judge, judge_of
from forcegate_client.results import forget_results, with_results

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
    json: JsonOption = False,
    csv: CsvOption = False,
    charges: Annotated[
        bool,
        typer.Option(
            "--charges", help="Also atomic charges and dipoles, of models that know charges."
        ),
    ] = False,
    url: UrlOption = None,
    local: LocalOption = False,
    repository: RepositoryOption = None,
    model: ModelOption = "painn_base",
    version: VersionOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Predict energy, forces and uncertainty of every structure in INPUT…"""
    one_form(json, csv)
    if out is not None:
        prepare_file(out, overwrite)
    run = _Run(model, version, charges)
    ended: BaseException | None = None
    with opened(inputs, smiles, format) as files, connect(url, local, repository) as client:
        library = open_library(files)
        try:
            records = iter(records_of(library))
            while part := list(islice(records, STRUCTURES_PER_REQUEST)):
                run.predict(client, [FrameResult.of(record) for record in part])
        except (KeyboardInterrupt, ForcegateError) as error:
            if not run.done:
                raise
            ended = error
        finally:
            library.close()
    kept = ""
    if out is not None:
        with undisturbed():
            place = save_frames(out, frames_of(run.done, run.judge), complete=ended is None)
        kept = f"written to {place}"
    if json or csv:
        whole = ended is None
        print(as_json(run.done, run.judge, complete=whole) if json else as_csv(run.done, run.judge))
    else:
        _show(run.done)
    if kept:
        tell(kept)
    if ended is not None:
        state = f"{len(run.done)} of {counted(library.size, 'frame')} predicted"
        raise with_state(ended, f"{state}; run it again for all of them")
    _end(run.done)


def _end(done: Sequence[FrameResult]) -> None:
    failed = [result for result in done if result.problem]
    if failed:
        warn(
            f"{len(failed)} of {counted(len(done), 'frame')} could not be predicted, the first "
            f"because of {failed[0].detail}"
        )
        raise typer.Exit(ExitCode.INCOMPLETE)


class _Run:
    """Fills in results, from the first to the last by the same weights."""

    def __init__(self, model: str, version: str | None, charges: bool) -> None:
        self.judge: Judge | None = None
        self.done: list[FrameResult] = []
        self._model = model
        self._version = version
        self._charges = charges
        self._card_digest = ""

    def predict(self, client: Potential, part: list[FrameResult]) -> None:
        """Ask about the structures of ``part``.

        Raises:
            DigestChanged: if other weights answer than before.
        """
        readable = [result for result in part if result.atoms is not None]
        if readable:
            atoms = [result.atoms for result in readable if result.atoms is not None]
            properties = ["energy", "forces", "uncertainty"]
            if all(frame.pbc.all() and frame.cell.rank == 3 for frame in atoms):
                properties.append("stress")
            if self._charges:
                properties.append("charges")
                if not any(frame.pbc.any() for frame in atoms):
                    properties.append("dipole")
            response = client.predict(
                atoms, self._model, self._version, properties, on_error="partial"
            )
            judge = self._judge(client, response)
            _fill(readable, atoms, response.predictions, judge)
        self.done += part

    def _judge(self, client: Potential, response: PredictResponse) -> Judge:
        if self.judge is None:
            self._version = response.version
            self.judge = judge_of(
                client, response.model, response.version, response.digest, response.status
            )
            self._card_digest = response.card_digest
        elif not response.comes_from(self.judge.digest, self._card_digest):
            raise DigestChanged(
                f"{response.origin} from frame {len(self.done)} on",
                expected=f"{self.judge.digest} {self._card_digest} for the whole file",
                action="run the command again",
            )
        return self.judge


def _fill(results: list[FrameResult], atoms: list[Atoms], found: Predictions, judge: Judge) -> None:
    slices = rows_of(found.n_atoms.tolist())
    row_of = {index: row for row, index in enumerate(found.index.tolist())}
    for place, (result, frame) in enumerate(zip(results, atoms, strict=True)):
        result.atoms = frame.copy()
        forget_results(result.atoms)
        row = row_of.get(place)
        if row is None:
            result.fail(Problem.of(found.problems.get(place, {})))
            continue
        assert found.energy is not None
        assert found.forces is not None
        result.energy = float(found.energy[row])
        forces = found.forces[slices[row]]
        result.max_force = float(np.linalg.norm(forces, axis=1).max())
        if found.energy_uncertainty is not None:
            result.energy_uncertainty = float(found.energy_uncertainty[row])
        if found.max_novelty is not None:
            result.max_novelty = float(found.max_novelty[row])
        charges = None if found.charges is None else found.charges[slices[row]]
        if found.net_charge is not None:
            result.net_charge = float(found.net_charge[row])
        result.atoms = with_results(
            frame,
            result.energy,
            forces,
            stress=None if found.stress is None else found.stress[row],
            charges=charges,
            dipole=None if found.dipole is None else found.dipole[row],
        )
        if found.dipole is not None:
            result.dipole = float(np.linalg.norm(found.dipole[row]))
        result.warnings += [
            *found.warnings.get(place, []),
            *judge.remarks(
                periodic=bool(frame.pbc.any()),
                charged=electrons_of(frame)[0] != 0,
                novelty=result.max_novelty,
            ),
        ]


def _show(results: list[FrameResult]) -> None:
    numbers = ["energy / eV", "max |F| / eV/Å", "σ(E) / meV", "novelty"]
    shown = results[:ROWS_SHOWN]
    charged = any(result.net_charge is not None for result in results)
    numbers += ["Σq / e", "dipole / e·Å"] if charged else []
    columns = headings(shown)
    table = ResultTable(columns, numbers)
    for result in shown:
        sigma = result.energy_uncertainty
        cells = [
            _shown(result.energy, ".6f"),
            _shown(result.max_force, ".4f"),
            _shown(None if sigma is None else 1000.0 * sigma, ".1f"),
            _shown(result.max_novelty, ".2f"),
        ]
        if charged:
            cells += [_shown(result.net_charge, ".3f"), _shown(result.dipole, ".3f")]
        table.add([*names_of(result, columns), *cells], result.remarks)
    table.show(out_console())
    hidden = len(results) - ROWS_SHOWN
    if hidden > 0:
        tell(f"… and {counted(hidden, 'more frame')}; --out, --json and --csv have all of them")


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
