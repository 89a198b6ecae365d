"""`forcegate-train export-histograms`: what novelty is measured against, for an older version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_trainer.cli.progress import progress_bars

__all__ = ["export_histograms_command"]


def export_histograms_command(
    version: Annotated[Path, typer.Argument(help="Version folder of a model repository.")],
    data: Annotated[
        list[Path],
        typer.Option(help="Labelled file it was trained on; given again for each further one."),
    ],
) -> None:
    """Count what the training frames look like to a version, for its card; model.pt stays."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_service.card import ModelCard
    from forcegate_service.rounding import round_alike_in_every_batch
    from forcegate_trainer.data.datasets import load_all
    from forcegate_trainer.export.histograms import add_histograms, refuse_other_data
    from forcegate_trainer.simulation.exported import serving

    console = Console()
    round_alike_in_every_batch()
    dataset = load_all(tuple(map(str, data)))
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
