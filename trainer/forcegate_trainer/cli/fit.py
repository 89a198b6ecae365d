"""`forcegate-train fit`: labelled frames in, a run folder out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from forcegate_trainer.errors import SettingsError
from forcegate_trainer.painn.config import PRESETS
from forcegate_trainer.training.config import FitConfig
from forcegate_trainer.training.files import CHECKPOINT_NAME, CONFIG_NAME, load_all

__all__ = ["fit_command"]


def fit_command(
    datasets: Annotated[list[Path], typer.Argument(help="Labelled HDF5 datasets.")],
    out: Annotated[Path, typer.Option(help="Run folder: settings, metrics, checkpoints.")],
    model: Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = "painn_base",
    epochs: Annotated[int, typer.Option(min=1)] = 30,
    batch_size: Annotated[int, typer.Option(min=1, help="Frames per optimiser step.")] = 16,
    learning_rate: Annotated[float, typer.Option(min=0)] = 1e-3,
    seed: Annotated[int, typer.Option()] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes; each takes one core.")] = 1,
    elements: Annotated[
        str, typer.Option(help="Atomic numbers, comma-separated; the model's own by default.")
    ] = "",
    compile_step: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile the step: needs a C compiler.")
    ] = True,
) -> None:
    """Train a student; stopped, it continues from its last checkpoint when called again."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_trainer.training.run import fit

    if model not in PRESETS:
        raise SettingsError(f"received model {model!r}; expected one of {', '.join(PRESETS)}")
    architecture = PRESETS[model]
    if elements:
        architecture = replace(architecture, elements=_atomic_numbers(elements))
    paths = tuple(str(path) for path in datasets)
    config = FitConfig(
        model=model,
        architecture=architecture,
        datasets=paths,
        dataset_hash=load_all(paths).content_hash(),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        workers=workers,
        compile=compile_step,
    )
    _check_folder(out, config)
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
                text += f"  val R² {known['force_r2']:.4f} F {known['force_rmse']:.3f} eV/Å"
            bar.update(task, completed=step, total=total, known=text)

        def tell(title: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, known=title)

        try:
            fit(config, out, show, tell)
        except KeyboardInterrupt:
            bar.console.print(f"stopped; {out} keeps the run: run the same command again to go on")
            raise


def _atomic_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(number) for number in text.split(",")}))
    except ValueError:
        raise SettingsError(
            f"received elements {text!r}; expected atomic numbers such as 1,6,8"
        ) from None


def _check_folder(out: Path, config: FitConfig) -> None:
    """Refuse to continue a run with other settings or data."""
    if not (out / CHECKPOINT_NAME).is_file():
        return
    before = FitConfig.load(out / CONFIG_NAME)
    # The epochs may change (the schedule stretches), and how the work is shared out.
    free = {"epochs": 1, "workers": 1, "compile": True}
    if replace(before, **free) != replace(config, **free):  # type: ignore[arg-type]
        raise SettingsError(
            f"received settings or data that differ from {out / CONFIG_NAME}; expected the same "
            "ones to continue that run, or another --out to start one"
        )
