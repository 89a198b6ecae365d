"""A progress bar for molecular dynamics, with time left and live temperature."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from forcegate_client.monitor import MDMonitor

__all__ = ["md_progress", "show_monitor", "show_stage"]


def md_progress(console: Console) -> Progress:
    """The bar; a context manager."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
        console=console,
    )


def show_stage(progress: Progress, description: str, steps: int) -> Callable[[], None]:
    """A bar for a stage of ``steps`` steps; call the result after each, the first included."""
    task = progress.add_task(description, total=steps, remark="", completed=-1)
    return lambda: progress.advance(task)


def show_monitor(
    progress: Progress, description: str, steps: int, every: int, monitor: MDMonitor, drifts: bool
) -> Callable[[], None]:
    """A bar for the recorded run; call the result at each sample, ``every`` steps apart."""
    task = progress.add_task(description, total=steps, remark="", completed=-every)
    drift_text, drift_due = "", 0

    def update() -> None:
        nonlocal drift_text, drift_due
        if drifts and monitor.n_samples >= drift_due:
            drift = monitor.drift()
            drift_text = "" if drift is None else f", {drift}"
            # A drift reads the whole series: at each tenth more of it, not at each sample.
            drift_due = int(1.1 * monitor.n_samples) + 20
        remark = f"{monitor.last.temperature_k:.0f} K{drift_text}"
        progress.update(task, advance=every, remark=remark)

    return update
