"""A progress bar for molecular dynamics, with time left and live temperature."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from forcegate_client.cli.md_settings import MDSettings
from forcegate_client.md.drift import SHORTEST_DRIFT_PS
from forcegate_client.md.monitor import MDMonitor

__all__ = ["Stage", "md_progress", "show_monitor"]


def md_progress(console: Console) -> Progress:
    """The bar; a context manager."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[remark]}"),
        console=console,
    )


class Stage:
    """A bar for a stage of at most ``steps`` steps, which may be done sooner."""

    def __init__(self, progress: Progress, doing: str, done: str, steps: int) -> None:
        self._progress = progress
        self._done = done
        self._count = 0
        self._task = progress.add_task(doing, total=steps, remark="")

    def reach(self, step: int) -> None:
        """So many steps are done."""
        self._count = step
        self._progress.update(self._task, completed=step)

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None:
            steps = max(self._count, 1)
            self._progress.update(self._task, description=self._done, total=steps, completed=steps)


def show_monitor(
    progress: Progress, description: str, steps: int, monitor: MDMonitor, settings: MDSettings
) -> Callable[[], None]:
    """A bar for the recorded run; call the result at each sample."""
    task = progress.add_task(description, total=steps, remark="")
    drift_text, drift_due = "", 0

    def update() -> None:
        nonlocal drift_text, drift_due
        if settings.conserves_energy and monitor.n_samples >= drift_due:
            drift = monitor.drift()
            known = drift is not None and drift.duration_ps >= SHORTEST_DRIFT_PS
            drift_text = f", {drift}" if known else ""
            # A drift reads the whole series: at each tenth more of it, not at each sample.
            drift_due = int(1.1 * monitor.n_samples) + 20
        remark = f"{monitor.last.temperature_k:.0f} K{drift_text}"
        progress.update(task, completed=monitor.dynamics.nsteps, remark=remark)

    return update
