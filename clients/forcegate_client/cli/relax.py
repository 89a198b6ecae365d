"""``forcegate relax``: bring every frame of a file to its nearest minimum."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from ase.constraints import FixAtoms
from rich.progress import Progress

from forcegate_client.cli.console import (
    ExitCode,
    counted,
    err_console,
    out_console,
    say,
    warn,
    with_state,
)
from forcegate_client.cli.files import opened, prepare_file, records_of, save_frames, stem_of
from forcegate_client.cli.frame_results import FrameResult, frames_of, headings, names_of
from forcegate_client.cli.options import (
    FormatOption,
    InputArgument,
    LocalOption,
    ModelOption,
    OverwriteOption,
    RepositoryOption,
    SmilesOption,
    UrlOption,
    VersionOption,
    calculator_of,
    connect,
)
from forcegate_client.cli.relax_resume import Earlier, take_earlier
from forcegate_client.cli.relax_run import Optimizer, judge_results, relax_many, relax_one
from forcegate_client.cli.signals import undisturbed
from forcegate_client.cli.tables import ResultTable
from forcegate_client.errors import ForcegateError
from forcegate_client.http.calculator import ModelCalculator
from forcegate_client.http.client import Client
from forcegate_client.local.calculator import LocalCalculator
from forcegate_client.local.models import LocalModels
from forcegate_client.local.student import Student
from forcegate_client.reading.library import open_library
from forcegate_client.relaxation import RemoteEvaluator, evaluator
from forcegate_client.remarks import Judge, judge_of, verdict_remark
from forcegate_client.runs import RUN_PATHS

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
            help="fire, many frames at once; lbfgs, where the server takes no steps itself a frame "
            "at a time. Default: fire for several frames, lbfgs for one."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Extended XYZ to write. Default: <INPUT>_relaxed.extxyz.")
    ] = None,
    go_on: Annotated[
        bool, typer.Option("--continue", help="Keep the frames that are done in --out.")
    ] = False,
    url: UrlOption = None,
    local: LocalOption = False,
    repository: RepositoryOption = None,
    model: ModelOption = "painn_base",
    version: VersionOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Relax the positions of every structure in INPUT…; cells stay as they are."""
    with opened(inputs, smiles, format) as files:
        target = out or Path(f"{stem_of(files)}_relaxed.extxyz")
        target = prepare_file(target, overwrite or go_on)
        library = open_library(files)
        results = [FrameResult.of(record) for record in records_of(library)]
        library.close()
    earlier = take_earlier(target, results) if go_on else Earlier()
    for result in results:
        if result.problem:
            result.converged = False
    todo = [result for result in results if result.converged is None]
    if not todo:
        if go_on:
            say(f"nothing to do: {target} has {counted(len(results), 'relaxed frame')}")
        else:
            _table(results).show(out_console())
        raise typer.Exit(ExitCode.INCOMPLETE if any(r.problem for r in results) else 0)
    ended: BaseException | None = None
    with connect(url, local, repository, give_up_after_s=None) as client:
        work = _Work(client, model, earlier.version or version, earlier.digest)
        try:
            for _ in _watched(work.relax(todo, optimizer, fmax, steps), len(todo)):
                pass
            work.judge_minima(todo)
        except (KeyboardInterrupt, ForcegateError) as error:
            if all(result.energy is None for result in results):
                raise
            ended = error
    done = [result for result in results if result.converged is not None]
    with undisturbed():
        complete = len(done) == len(results)
        place = save_frames(target, frames_of(done, work.judge), complete=complete)
    if ended is not None:
        state = (
            f"{len(done)} of {counted(len(results), 'frame')} relaxed, kept in {place}; "
            "the same command with --continue does the rest"
        )
        raise with_state(ended, state)
    _end(results, work.judge, place)


def _end(results: list[FrameResult], judge: Judge, place: Path) -> None:
    if remark := verdict_remark(judge.status, "relax"):
        warn(f"{judge.model} {judge.version}: {remark}")
    _table(results).show(out_console())
    say(f"written to {place}")
    short = sum(not result.converged for result in results)
    if short:
        warn(f"{short} of {counted(len(results), 'frame')} did not converge")
        raise typer.Exit(ExitCode.INCOMPLETE)


class _Work:
    """One model that relaxes, from the first to the last by the same weights."""

    def __init__(
        self, client: Client | LocalModels, model: str, version: str | None, digest: str | None
    ) -> None:
        self._client = client
        self._calculator = calculator_of(client, model, version, digest)
        self._evaluate = evaluator(client, model, version)
        self._evaluate.digest = digest
        self._asked: ModelCalculator | RemoteEvaluator = self._calculator
        self._judge: Judge | None = None

    @property
    def judge(self) -> Judge:
        """Which weights answered, as far as it is known."""
        asked = self._asked
        return self._judge or Judge(
            asked.model, asked.version or "", asked.digest or "", asked.approval
        )

    def relax(
        self, results: list[FrameResult], optimizer: Optimizer | None, fmax: float, steps: int
    ) -> Iterator[FrameResult]:
        """Each of ``results`` as it is done: by the server, if it takes steps itself."""
        chosen = optimizer or (Optimizer.FIRE if len(results) > 1 else Optimizer.LBFGS)
        many = len(results) > 1 and chosen is Optimizer.FIRE
        moved_by = self._moved_by(results, many)
        if not many and moved_by is None:
            return (relax_one(result, self._calculator, fmax, steps, chosen) for result in results)
        self._asked = self._evaluate
        return relax_many(results, self._evaluate, fmax, steps, moved_by, chosen)

    def _moved_by(self, results: list[FrameResult], many: bool) -> Student | Client | None:
        """What takes the steps, if it is not this process: ASE alone knows all constraints."""
        here = self._calculator
        if isinstance(here, LocalCalculator):
            return here.student if many else None
        if not (many or all(map(_is_free, results))) or not isinstance(self._client, Client):
            return None
        return self._client if self._client.knows(RUN_PATHS["relax"]) else None

    def judge_minima(self, results: list[FrameResult]) -> None:
        """Ask for uncertainty and novelty of what came out, and remark on it."""
        asked = self._asked
        if asked.version is None or asked.digest is None:
            return
        self._judge = judge_of(
            self._client, asked.model, asked.version, asked.digest, asked.approval
        )
        judge_results(results, self._client, self._judge)


def _is_free(result: FrameResult) -> bool:
    """Whether no constraint holds anything but whole atoms."""
    assert result.atoms is not None
    return all(type(constraint) is FixAtoms for constraint in result.atoms.constraints)


def _watched(found: Iterator[FrameResult], total: int) -> Iterator[FrameResult]:
    """The same, with a bar."""
    with Progress(console=err_console(), transient=True) as bar:
        task = bar.add_task("relaxing", total=total)
        for item in found:
            yield item
            bar.advance(task)


def _table(results: list[FrameResult]) -> ResultTable:
    numbers = ("steps", "ΔE / eV", "energy / eV", "max |F| / eV/Å", "novelty")
    columns = headings(results)
    table = ResultTable(columns, numbers)
    for result in results:
        cells = (
            _shown(result.steps, "d"),
            _shown(result.energy_change, "+.4f"),
            _shown(result.energy, ".6f"),
            _shown(result.max_force, ".4f"),
            _shown(result.max_novelty, ".2f"),
        )
        table.add([*names_of(result, columns), *cells], result.remarks)
    return table


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
