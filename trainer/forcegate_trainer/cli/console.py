"""What commands show: how far their work is, and what a dataset contains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from forcegate_client.dataset import Dataset, Flag, Source, Split
from forcegate_trainer.progress import Tell

__all__ = ["fit_progress", "print_counts", "progress_bars"]

_Show = Callable[[int, int, dict[str, float]], None]


@contextmanager
def progress_bars(console: Console) -> Iterator[Tell]:
    """Show one bar for each title that is told of."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks = {}

        def tell(title: str, done: int, total: int) -> None:
            if title not in tasks:
                tasks[title] = progress.add_task(title)
            progress.update(tasks[title], completed=done, total=total)

        yield tell


def print_counts(dataset: Dataset, path: Path, console: Console) -> None:
    """Print counts of frames, molecules, sources and reasons for dropping."""
    splits = ", ".join(
        f"{int(np.sum(dataset.split == split))} {split.name.lower()}" for split in Split
    )
    sources = ", ".join(
        f"{int(count)} {Source(code).name.lower()}"
        for code, count in zip(*np.unique(dataset.source, return_counts=True), strict=True)
    )
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(dataset.dropped.items()))
    moved = int(np.sum(dataset.flags & Flag.PROTON_TRANSFER != 0))
    console.print(
        f"{path}: {len(dataset)} frames of {len(dataset.molecules)} molecules and pairs, "
        f"{len(dataset.atomic_numbers)} atoms"
    )
    console.print(f"  splits: {splits}")
    console.print(f"  sources: {sources}")
    console.print(f"  dropped: {dropped or 'none'}")
    if dataset.is_labelled and dataset.forces is not None and len(dataset):
        rms = float(np.sqrt(np.mean(dataset.forces**2)))
        console.print(f"  force RMS {rms:.3f} eV/Å; {moved} frames with a moved proton")


@contextmanager
def fit_progress(model: str, out: Path) -> Iterator[tuple[_Show, Tell]]:
    """A bar of the steps, and of the preparations before them; says how to go on after Ctrl-C."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[known]}"),
    ) as bar:
        task = bar.add_task(f"fit {model}", known="")

        def show(step: int, total: int, known: dict[str, float]) -> None:
            text = f"loss {known['loss']:.3f}"
            if "force_r2" in known:
                text += (
                    f"  val R² {known['force_r2']:.4f} F {known['force_rmse']:.3f} eV/Å"
                    f" E {known['energy_mae_mev_per_atom']:.1f} meV/atom"
                )
            bar.update(task, completed=step, total=total, known=text)

        def tell(title: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, known=title)

        try:
            yield show, tell
        except KeyboardInterrupt:
            bar.console.print(f"stopped; {out} keeps the run: run the same command again to go on")
            raise
