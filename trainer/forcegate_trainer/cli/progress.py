"""Progress bars for work that reports how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from forcegate_trainer.progress import Tell

__all__ = ["progress_bars"]


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
