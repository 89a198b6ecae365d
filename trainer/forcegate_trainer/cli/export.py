"""`forcegate-train export`, and what may be added to a version of a model repository later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_trainer.cli.console import progress_bars

__all__ = [
    "calibrate_forces_command",
    "export_command",
    "export_histograms_command",
    "export_weights_command",
]


def export_command(
    run: Annotated[Path, typer.Argument(help="Run folder written by `forcegate-train fit`.")],
    out: Annotated[Path, typer.Option(help="Model repository.")] = Path("model_repository"),
    version: Annotated[
        str | None, typer.Option(help="Version number; the next free one by default.")
    ] = None,
) -> None:
    """Calibrate the uncertainty; write TorchScript, weights, card and Triton's files."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_trainer.export.version import export

    console = Console()
    with progress_bars(console) as tell:
        folder = export(run, out, version, tell)
    console.print(f"exported {folder}")


def export_weights_command(
    version: Annotated[Path, typer.Argument(help="Version folder of a model repository.")],
) -> None:
    """Add model.safetensors to a version, from its own weights; model.pt stays as it is."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_trainer.export.engine_weights import add_weights

    deviation = add_weights(version)
    Console().print(
        f"added model.safetensors to {version}; forces within {deviation:.1g} eV/Å of model.pt"
    )


def export_histograms_command(
    version: Annotated[Path, typer.Argument(help="Version folder of a model repository.")],
    data: Annotated[
        list[Path],
        typer.Option(help="Labelled file it was trained on; given again for each further one."),
    ],
) -> None:
    """Count what the training frames look like to a version, for its card; model.pt stays."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_service.contract.card import ModelCard
    from forcegate_service.machine import round_alike_in_every_batch
    from forcegate_trainer.data.datasets import load_all
    from forcegate_trainer.export.histograms import add_histograms, refuse_other_data
    from forcegate_trainer.simulation.exported import serving

    console = Console()
    round_alike_in_every_batch()
    dataset = load_all(data)
    # Before anything is evaluated.
    refuse_other_data(ModelCard.load(version), dataset)
    with serving(version) as runtime, progress_bars(console) as tell:
        found = add_histograms(version, runtime, dataset, tell)
    console.print(
        f"counted {found.structures} of {found.training_frames} training frames for {version}; "
        f"largest novelty below {found.max_novelty_99:.2f} in 99 % and below "
        f"{found.max_novelty_999:.2f} in 99.9 % of them",
        highlight=False,
    )


def calibrate_forces_command(
    version: Annotated[Path, typer.Argument(help="Version folder whose card gets a partner.")],
    partner: Annotated[Path, typer.Option(help="Version folder of another student.")],
    data: Annotated[
        list[Path],
        typer.Option(help="Labelled file; its validation molecules count. As often as you like."),
    ],
) -> None:
    """Calibrate the uncertainty of forces, before a version is published: its card changes."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_service.contract.card import ModelCard
    from forcegate_service.contract.force_uncertainty import ForcePartner
    from forcegate_trainer.data.datasets import load_all
    from forcegate_trainer.errors import SettingsError
    from forcegate_trainer.simulation.exported import serving
    from forcegate_trainer.validation.confidence.force_calibration import calibrate_forces

    console = Console()
    dataset = load_all(data)
    chosen = dataset.frame_indices("validation")
    if not len(chosen):
        raise SettingsError(
            f"received {len(dataset)} frames, none of a validation molecule; expected some: a "
            "student's errors on what it was trained on are no measure of others: give the file "
            "that `forcegate-train sample` and `label` made of all splits"
        )
    with (
        serving(version) as own,
        serving(partner) as other,
        progress_bars(console) as tell,
    ):
        found = calibrate_forces(own, other, dataset.select(chosen), tell)
    named = ModelCard.load(partner)
    card = ModelCard.load(version)
    card.model_copy(
        update={
            "force_partner": ForcePartner(
                name=named.name,
                version=named.version,
                digest=named.digest,
                scale=found.scale,
                floor=found.floor,
            ),
            "metrics": card.metrics | {"force_uncertainty": vars(found)},
        }
    ).save(version)
    ranks = "unknown" if found.spearman is None else f"{found.spearman:.2f}"
    console.print(
        f"{version}: σ = √(({found.scale:.3g} d)² + ({found.floor:.3g} eV/Å)²); 90 % intervals "
        f"cover {100 * found.coverage:.0f} % ({100 * found.lowest_coverage:.0f} % in the worst "
        f"fifth), {found.frames} frames of {found.molecules} molecules; Spearman {ranks} by frame",
        highlight=False,
    )
