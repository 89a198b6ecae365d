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
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint in --out.")] = False,
) -> None:
    """Train a student on labelled frames; resume with --resume after an interruption."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_trainer.training.run import fit

    if model not in PRESETS:
        raise SettingsError(f"received model {model!r}; expected one of {', '.join(PRESETS)}")
    architecture = PRESETS[model]
    if elements:
        chosen = tuple(sorted(int(number) for number in elements.split(",")))
        architecture = replace(architecture, elements=chosen)
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
    _check_folder(out, config, resume=resume)
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

        fit(config, out, show)


def _check_folder(out: Path, config: FitConfig, *, resume: bool) -> None:
    """Neither overwrite a run by accident nor continue one with other settings."""
    if not (out / CHECKPOINT_NAME).is_file():
        return
    if not resume:
        raise SettingsError(
            f"received --out {out}, which holds a run; expected an empty folder, or --resume"
        )
    before = FitConfig.load(out / CONFIG_NAME)
    # Epochs may change on resuming (the schedule stretches); how work is shared out may, too.
    free = {"epochs": 1, "workers": 1, "compile": True}
    if replace(before, **free) != replace(config, **free):  # type: ignore[arg-type]
        raise SettingsError(
            f"received settings or data that differ from {out / CONFIG_NAME}; expected the same "
            "ones to resume: start another run with another --out"
        )
