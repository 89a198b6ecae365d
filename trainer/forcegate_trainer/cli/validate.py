"""`forcegate-train validate`: an exported version and test frames in, report and card out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from forcegate_trainer.cli.progress import progress_bars

__all__ = ["validate_command"]


def validate_command(
    version: Annotated[Path, typer.Argument(help="Version folder of a model repository.")],
    test: Annotated[Path, typer.Option(help="Labelled frames of the test split.")],
    training: Annotated[Path, typer.Option(help="The training set, to prove it is disjoint.")],
    report: Annotated[
        Path | None, typer.Option(help="Folder of the report; VERSION/report by default.")
    ] = None,
    nve_ps: Annotated[
        float, typer.Option(min=0, help="Microcanonical dynamics per suite molecule; 0: none.")
    ] = 2.0,
) -> None:
    """Measure an exported model through the serving runtime; write its report and card."""
    # Importing torch takes seconds, which the other commands need not wait for.
    from forcegate_service.rounding import round_alike_in_every_batch
    from forcegate_trainer.validation.run import validate

    console = Console()
    round_alike_in_every_batch()
    folder = report or version / "report"
    with progress_bars(console) as tell:
        held_out = validate(version, test, training, folder, nve_ps, tell)
    metrics = held_out.metrics(np.ones(len(held_out.dataset), dtype=np.bool_))
    console.print(
        f"force R² {metrics['force_r2']:.4f}, RMSE {metrics['force_rmse']:.3f} eV/Å, "
        f"energy MAE {metrics['energy_mae_mev_per_atom']:.2f} meV/atom; report in {folder}"
    )
