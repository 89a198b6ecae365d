"""`forcegate-train fit`: labelled frames in, a run folder out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from forcegate_trainer.cli.console import fit_progress
from forcegate_trainer.cli.options import with_settings
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.config import DISTILLATION, WHERE, Distillation, FitConfig, Start
from forcegate_trainer.network.config import CHARGED_PRESETS, PRESETS, PaiNNConfig
from forcegate_trainer.settings import settings_of

__all__ = ["fit_command"]

_DEFAULT_MODEL = "painn_base"


@with_settings(FitConfig, Distillation)
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
        typer.Option(help="A student with charges, Coulomb and dispersion, for twelve elements."),
    ] = False,
    tensorboard: Annotated[
        bool,
        typer.Option(help="Write curves to the folder's tensorboard/.", rich_help_panel=WHERE),
    ] = True,
    extra: Annotated[
        list[Path] | None,
        typer.Option(help="Training frames labelled by a student.", rich_help_panel=DISTILLATION),
    ] = None,
    mentor: Annotated[
        Path | None,
        typer.Option(help="Version folder of a larger student.", rich_help_panel=DISTILLATION),
    ] = None,
    **settings: Any,
) -> None:
    """Train a student; stopped, it continues from its last checkpoint when called again."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_trainer.data.datasets import load_all
    from forcegate_trainer.fit.data import load_extra, training_data
    from forcegate_trainer.fit.device import open_device
    from forcegate_trainer.fit.distillation.mentor import find_mentor
    from forcegate_trainer.fit.run import fit
    from forcegate_trainer.fit.start import extend as extension_of
    from forcegate_trainer.fit.start import find_start, refuse_another_run

    open_device(settings["device"], tf32=settings["tf32"])
    paths = tuple(map(str, datasets))
    start: Start | None
    if extend is not None:
        _refuse_beside_extend(model, elements, start_from)
        extended = extension_of(extend, paths)
        model, architecture, start = extended.model, extended.architecture, extended.start
        paths, dataset = extended.paths, extended.dataset
    else:
        model = model or _DEFAULT_MODEL
        architecture = _architecture(model, elements, charges=charges)
        start = None if start_from is None else find_start(start_from, architecture)
        dataset = load_all(paths)
    taught = {name: settings.pop(name) for name in settings_of(Distillation)}
    more = load_extra(tuple(map(str, extra)), dataset) if extra else None
    config = FitConfig(
        model=model,
        architecture=architecture,
        datasets=paths,
        dataset_hash=dataset.content_hash(),
        start=start,
        extra=None if more is None else more.record,
        distillation=find_mentor(mentor, taught, dataset),
        **settings,
    )
    refuse_another_run(out, config)
    data = training_data(config, dataset, more)
    # Frames of the test split among them, which nobody needs while the student is fitted.
    del dataset, more
    with fit_progress(model, out) as (show, tell):
        fit(config, out, show, tell, curves=tensorboard, data=data)


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
