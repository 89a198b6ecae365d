"""Hold a group out, serve, be alerted, retrain from what was captured: one turn of the wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forcegate_client.cli.outspoken import run


def main(
    out: Annotated[Path, typer.Option(help="Folder of the turn; called again, it goes on.")] = Path(
        "runs/wheel"
    ),
    figures: Annotated[
        Path | None, typer.Option(help="Folder of the plots and tables; --out by default.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1000, help="Training frames.")] = 20_000,
    first_steps: Annotated[int, typer.Option(min=1000, help="Of version 1.")] = 6000,
    more_steps: Annotated[int, typer.Option(min=1000, help="Of version 2 and the control.")] = 6000,
    structures: Annotated[
        int, typer.Option(min=600, help="Ordinary ones of a watch; twice as many follow.")
    ] = 1000,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Make the turn, from the repository's root; about half an hour on two cores."""
    # Importing torch takes seconds, which --help need not wait for.
    from forcegate_wheel.plots import write_figures
    from forcegate_wheel.stages import Turn, turn

    results = turn(Turn(out, frames, first_steps, more_steps, structures, seed))
    write_figures(results, figures or out)
    print((figures or out).joinpath("tables.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
