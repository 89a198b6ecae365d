"""`forcegate-train calibrate-forces`: what the disagreement with another student says of forces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_trainer.cli.progress import progress_bars

__all__ = ["calibrate_forces_command"]


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
    from forcegate_service.card import ModelCard
    from forcegate_service.force_uncertainty import ForcePartner
    from forcegate_trainer.data.datasets import load_all
    from forcegate_trainer.errors import SettingsError
    from forcegate_trainer.simulation.exported import serving
    from forcegate_trainer.validation.confidence.force_calibration import calibrate_forces

    console = Console()
    dataset = load_all(tuple(map(str, data)))
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
