"""`forcegate-train fit`: labelled frames in, a run folder out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from forcegate_trainer.cli.fit_progress import fit_progress
from forcegate_trainer.data.datasets import load_all
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.config import FitConfig, Start
from forcegate_trainer.fit.run_files import CHECKPOINT_NAME
from forcegate_trainer.network.config import CHARGED_PRESETS, PRESETS, PaiNNConfig
from forcegate_trainer.network.storage import CONFIG_NAME

__all__ = ["fit_command"]

_DEFAULT_MODEL = "painn_base"
_OPTIMISER = "Optimiser"
_LENGTH = "Length and validation"
_CHARGES = "Students with charges: what else weighs in the loss"
_WHERE = "Where it runs"
_DISTILLATION = "Distillation: what a larger student adds"


def fit_command(
    datasets: Annotated[list[Path], typer.Argument(help="Labelled HDF5 datasets.")],
    out: Annotated[Path, typer.Option(help="Run folder: settings, metrics, checkpoints.")],
    model: Annotated[
        str, typer.Option(help=f"One of {', '.join(PRESETS)}; {_DEFAULT_MODEL} by default.")
    ] = "",
    elements: Annotated[
        str, typer.Option(help="Atomic numbers, comma-separated; the model's own by default.")
    ] = "",
    start_from: Annotated[
        Path | None,
        typer.Option(help="Run or version folder whose weights to begin with; same shape."),
    ] = None,
    extend: Annotated[
        Path | None,
        typer.Option(help="Run folder to go on from: its student, weights and data, and more."),
    ] = None,
    charges: Annotated[
        bool,
        typer.Option(
            "--charges/--no-charges",
            help="A student with charges, Coulomb and dispersion, for twelve elements.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option()] = 0,
    epochs: Annotated[int, typer.Option(min=1, rich_help_panel=_LENGTH)] = 30,
    steps: Annotated[
        int, typer.Option(min=0, help="Steps in all; 0: --epochs.", rich_help_panel=_LENGTH)
    ] = 0,
    validate_steps: Annotated[
        int,
        typer.Option(min=0, help="Between validations; 0: each epoch.", rich_help_panel=_LENGTH),
    ] = 0,
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            help="Validations without a smaller loss that end the run; 0: none do.",
            rich_help_panel=_LENGTH,
        ),
    ] = 0,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Frames per step.", rich_help_panel=_OPTIMISER)
    ] = 16,
    optimizer: Annotated[
        str, typer.Option(help="muon or adamw.", rich_help_panel=_OPTIMISER)
    ] = "muon",
    learning_rate: Annotated[float, typer.Option(min=0, rich_help_panel=_OPTIMISER)] = 3e-3,
    final_learning_rate: Annotated[float, typer.Option(min=0, rich_help_panel=_OPTIMISER)] = 1e-6,
    warmup_steps: Annotated[int, typer.Option(min=0, rich_help_panel=_OPTIMISER)] = 1000,
    weight_decay: Annotated[float, typer.Option(min=0, rich_help_panel=_OPTIMISER)] = 1e-3,
    clip_norm: Annotated[
        float, typer.Option(min=0, help="Of the gradient.", rich_help_panel=_OPTIMISER)
    ] = 2.0,
    ema_decay: Annotated[
        float,
        typer.Option(min=0, max=1, help="Of the average of weights.", rich_help_panel=_OPTIMISER),
    ] = 0.9995,
    energy_weight: Annotated[
        float,
        typer.Option(min=0, help="eV per atom against eV/Å.", rich_help_panel=_OPTIMISER),
    ] = 5.0,
    late_energy_weight: Annotated[
        float | None,
        typer.Option(
            min=0, help="At the end of a ramp over the last fifth.", rich_help_panel=_OPTIMISER
        ),
    ] = None,
    charge_weight: Annotated[
        float, typer.Option(min=0, help="Per e, of an atom's.", rich_help_panel=_CHARGES)
    ] = 2.0,
    net_charge_weight: Annotated[
        float, typer.Option(min=0, help="Per e, of a molecule's.", rich_help_panel=_CHARGES)
    ] = 0.2,
    interaction_weight: Annotated[
        float,
        typer.Option(min=0, help="Per eV, of complexes.", rich_help_panel=_CHARGES),
    ] = 1.0,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes; each takes one core.", rich_help_panel=_WHERE)
    ] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.", rich_help_panel=_WHERE)] = "cpu",
    tf32: Annotated[
        bool,
        typer.Option("--tf32", help="Let a GPU round products to 10 bits.", rich_help_panel=_WHERE),
    ] = False,
    compile_step: Annotated[
        bool,
        typer.Option(
            "--compile/--no-compile",
            help="Compile the step: needs a C compiler.",
            rich_help_panel=_WHERE,
        ),
    ] = True,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard/--no-tensorboard",
            help="Write curves to the folder's tensorboard/.",
            rich_help_panel=_WHERE,
        ),
    ] = True,
    extra: Annotated[
        list[Path] | None,
        typer.Option(help="Training frames labelled by a student.", rich_help_panel=_DISTILLATION),
    ] = None,
    mentor: Annotated[
        Path | None,
        typer.Option(help="Version folder of a larger student.", rich_help_panel=_DISTILLATION),
    ] = None,
    atomic_energy_weight: Annotated[
        float, typer.Option(min=0, help="Per eV.", rich_help_panel=_DISTILLATION)
    ] = 0.0,
    feature_weight: Annotated[
        float, typer.Option(min=0, help="Per squared spread.", rich_help_panel=_DISTILLATION)
    ] = 0.0,
    hessian_weight: Annotated[
        float, typer.Option(min=0, help="Per eV/Å².", rich_help_panel=_DISTILLATION)
    ] = 0.0,
    hessian_rows: Annotated[
        int, typer.Option(min=1, help="Known of each frame.", rich_help_panel=_DISTILLATION)
    ] = 2,
    hessian_share: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Of a batch, asked for a row.", rich_help_panel=_DISTILLATION
        ),
    ] = 0.25,
) -> None:
    """Train a student; stopped, it continues from its last checkpoint when called again."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_trainer.fit.data import load_extra
    from forcegate_trainer.fit.device import open_device
    from forcegate_trainer.fit.distillation.mentor import find_mentor
    from forcegate_trainer.fit.extension import extend as extension_of
    from forcegate_trainer.fit.run import fit
    from forcegate_trainer.fit.start import find_start

    open_device(device, tf32=tf32)
    paths = tuple(map(str, datasets))
    start: Start | None
    if extend is not None:
        _refuse_beside_extend(model, elements, start_from)
        extended = extension_of(extend, paths)
        model, architecture = extended.model, extended.architecture
        start, paths = extended.start, extended.datasets
    else:
        model = model or _DEFAULT_MODEL
        architecture = _architecture(model, elements, charges=charges)
        start = None if start_from is None else find_start(start_from, architecture)
    dataset = load_all(paths)
    weights = {
        "atomic_energy_weight": atomic_energy_weight,
        "feature_weight": feature_weight,
        "hessian_weight": hessian_weight,
    }
    rows = {"hessian_rows": hessian_rows, "hessian_share": hessian_share}
    config = FitConfig(
        model=model,
        architecture=architecture,
        datasets=paths,
        dataset_hash=dataset.content_hash(),
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=learning_rate,
        final_learning_rate=final_learning_rate,
        warmup_steps=warmup_steps,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        ema_decay=ema_decay,
        energy_weight=energy_weight,
        late_energy_weight=late_energy_weight,
        charge_weight=charge_weight,
        net_charge_weight=net_charge_weight,
        interaction_weight=interaction_weight,
        seed=seed,
        workers=workers,
        compile=compile_step,
        device=device,
        tf32=tf32,
        validate_steps=validate_steps,
        patience=patience,
        start=start,
        extra=load_extra(tuple(map(str, extra)), dataset)[1] if extra else None,
        distillation=find_mentor(mentor, weights, rows, dataset),
    )
    _check_folder(out, config)
    with fit_progress(model, out) as (show, tell):
        fit(config, out, show, tell, curves=tensorboard)


def _refuse_beside_extend(model: str, elements: str, start_from: Path | None) -> None:
    given = {"--model": model, "--elements": elements, "--start-from": start_from}
    beside = [name for name, value in given.items() if value]
    if beside:
        raise SettingsError(
            f"received {' and '.join(beside)} beside --extend; expected none of them: they are "
            "those of the run that is extended"
        )


def _architecture(model: str, elements: str, *, charges: bool) -> PaiNNConfig:
    presets = CHARGED_PRESETS if charges else PRESETS
    if model not in presets:
        raise SettingsError(f"received model {model!r}; expected one of {', '.join(PRESETS)}")
    if not elements:
        return presets[model]
    try:
        numbers = tuple(sorted({int(number) for number in elements.split(",")}))
    except ValueError:
        raise SettingsError(
            f"received elements {elements!r}; expected atomic numbers such as 1,6,8"
        ) from None
    return replace(presets[model], elements=numbers)


def _check_folder(out: Path, config: FitConfig) -> None:
    """Refuse to continue a run with other settings or data."""
    if not (out / CHECKPOINT_NAME).is_file():
        return
    before = FitConfig.load(out / CONFIG_NAME)
    # How long it is may change (the schedule stretches), how it ends, and where it runs.
    length = {"epochs": 1, "steps": 0, "validate_steps": 0, "patience": 0}
    length |= {"late_energy_weight": 0, "final_learning_rate": 0}
    where = {"workers": 1, "compile": True, "device": "cpu", "tf32": False}
    free = length | where
    if replace(before, **free) != replace(config, **free):  # type: ignore[arg-type]
        raise SettingsError(
            f"received settings or data that differ from {out / CONFIG_NAME}; expected the same "
            "ones to continue that run, or another --out to start one"
        )
