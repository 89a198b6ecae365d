"""What `forcegate-train fit` shows while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from forcegate_trainer.progress import Tell

__all__ = ["fit_progress"]

_Show = Callable[[int, int, dict[str, float]], None]


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
