"""``forcegate screen``: one model over a whole library, resumable."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from forcegate_client.cli.console import counted, err_console, tell, with_state
from forcegate_client.cli.files import opened
from forcegate_client.cli.merge import finish
from forcegate_client.cli.options import (
    ExportOption,
    FormatOption,
    InputArgument,
    LocalOption,
    ModelOption,
    RepositoryOption,
    SmilesOption,
    UrlOption,
    VersionOption,
    WhereOption,
    one_place,
)
from forcegate_client.errors import ForcegateError
from forcegate_client.extras import needing
from forcegate_client.http.client import Client
from forcegate_client.local.models import LocalModels
from forcegate_client.reading.inputs import Input

if TYPE_CHECKING:
    # h5py comes with an extra.
    from forcegate_client.screening.screening import Progress as State

__all__ = ["screen"]


class TaskName(StrEnum):
    """What is done with each structure."""

    SINGLE_POINT = "single-point"
    RELAX = "relax"


# Some hundred lines: where it begins to be noticed.
_MANY_SMILES_BYTES = 20_000


def screen(
    out: Annotated[Path, typer.Option(help="Folder of the results.")],
    inputs: InputArgument = None,
    smiles: SmilesOption = None,
    format: FormatOption = None,
    task: Annotated[
        TaskName, typer.Option(help="What to do with each structure.")
    ] = TaskName.SINGLE_POINT,
    where: WhereOption = None,
    export: ExportOption = None,
    shard: Annotated[str | None, typer.Option(help="Part i/n of the input, such as 2/8.")] = None,
    keep_forces: Annotated[bool, typer.Option("--keep-forces", help="Store all forces.")] = False,
    fmax: Annotated[float, typer.Option(min=0.0, help="relax: largest force left, eV/Å.")] = 0.05,
    steps: Annotated[int, typer.Option(min=1, help="relax: most steps.")] = 500,
    at_once: Annotated[int, typer.Option(min=1, help="Most requests under way.")] = 8,
    part_size: Annotated[int, typer.Option(min=1, help="Structures in a part file.")] = 1024,
    patience: Annotated[
        float, typer.Option(min=0.0, help="Seconds to wait for a server that is away.")
    ] = 600.0,
    url: UrlOption = None,
    local: LocalOption = False,
    repository: RepositoryOption = None,
    model: ModelOption = "painn_base",
    version: VersionOption = None,
) -> None:
    """Compute every structure of INPUT…; run it again to go on after a stop."""
    with needing("screening", "a screening"):
        from forcegate_client.screening.exporting import ExportFormat, require_package
        from forcegate_client.screening.manifest import Shard
        from forcegate_client.screening.relax_task import Relax
        from forcegate_client.screening.screening import NO_RETRIES
        from forcegate_client.screening.screening import screen as run
        from forcegate_client.screening.tasks import SinglePoint, Task
        from forcegate_client.screening.where import Condition

    chosen: Task = SinglePoint(keep_forces=keep_forces)
    if task is TaskName.RELAX:
        chosen = Relax(fmax=fmax, max_steps=steps, keep_forces=keep_forces)
    if export is not None:
        require_package(ExportFormat(export.value))
    if where is not None:
        # A mistake in it should not show after a night of computing.
        Condition(where, chosen.columns)
    here = one_place(url, local, repository)
    part = Shard() if shard is None else Shard.parse(shard)
    with (
        opened(inputs, smiles, format) as files,
        LocalModels(repository) if here else Client(url, retry=NO_RETRIES) as client,
        _Bar() as bar,
    ):
        if sum(map(_bytes_of_smiles, files)) > _MANY_SMILES_BYTES:
            tell("most of the time goes into coordinates for SMILES, which are made here")
        try:
            done = run(
                files,
                out,
                client=client,
                model=model,
                version=version,
                task=chosen,
                shard=part,
                part_size=part_size,
                # Each batch takes all cores; the second is prepared meanwhile.
                at_once=min(at_once, 2) if here else at_once,
                patience_s=patience,
                progress=bar.show,
            )
        except (KeyboardInterrupt, ForcegateError) as error:
            if bar.state is None:
                raise
            kept = f"{bar.state.done} of {counted(bar.state.total, 'structure')} kept in {out}"
            bar.stop()
            raise with_state(error, f"{kept}; the same command goes on") from error
    if not done.computed:
        size = done.manifest.stop - done.manifest.start
        tell(f"nothing to do: the results of {counted(size, 'structure')} are there")
    if part.count > 1:
        tell(f"shard {shard} is done in {done.folder}; forcegate merge {out} joins all of them")
        return
    finish(out, where, export)


def _bytes_of_smiles(item: Input) -> int:
    return item.path.stat().st_size if item.format in ("smi", "csv") else 0


class _Bar:
    """How far it is, how fast, and when it will be done."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("screening"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[remark]}"),
            console=err_console(),
            transient=True,
        )
        self._task: TaskID | None = None
        self.state: State | None = None

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take it away."""
        self._progress.stop()

    def show(self, now: State) -> None:
        """Take over where it stands."""
        self.state = now
        if self._task is None:
            self._task = self._progress.add_task(
                "screening", total=now.total - now.before, rate="", remark=""
            )
        speed = self._progress.tasks[0].speed
        remark = f"{now.failed} failed, {now.at_once} at once"
        if now.before:
            remark += f", {now.before} done before"
        self._progress.update(
            self._task,
            completed=now.done - now.before,
            rate="" if speed is None else f"{speed:.0f}/s",
            remark=remark,
        )
