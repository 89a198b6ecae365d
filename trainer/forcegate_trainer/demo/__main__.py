"""``python -m forcegate_trainer.demo``: what ``make demo`` runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from forcegate_client import RemoteCalculator
from forcegate_client.cli.outspoken import run
from forcegate_service.contract.card import ModelCard
from forcegate_trainer.data.molecules.exclusion import PUBLIC_TEST_MOLECULES
from forcegate_trainer.demo.gateway import running_gateway
from forcegate_trainer.demo.run import DURATION_PS, TIMESTEP_FS, DemoResult, run_molecule
from forcegate_trainer.errors import TeacherError
from forcegate_trainer.teachers import parse_teacher
from forcegate_trainer.teachers.interface import Teacher
from forcegate_trainer.validation.molecules import molecule_from_smiles

MOLECULES = ("aspirin", "caffeine", "ibuprofen")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for plots, trajectories, summary.")],
    model: Annotated[str, typer.Option(help="Model to serve.")] = "painn_base",
    model_repository: Annotated[Path, typer.Option()] = Path("model_repository"),
) -> None:
    """Serve a student over HTTP and run molecular dynamics of three molecules against it."""
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    with running_gateway(model_repository, out / "gateway.log") as url:
        console.print(f"gateway at {url}")
        calculator = RemoteCalculator(url, model=model)
        card = ModelCard.model_validate(calculator.client.model(model))
        teacher = _teacher(card, console)
        results = _run_all(calculator, teacher, out, console)
    console.print(_table(results, card))
    summary = {
        "model": card.name,
        "version": card.version,
        "digest": card.digest,
        "molecules": [result.summary() for result in results],
    }
    path = out / "summary.json"
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    console.print(f"plots, trajectories and summary.json are in {out}/")
    failed = [result for result in results if result.trouble is not None]
    for result in failed:
        Console(stderr=True).print(f"[red]{result.trajectory.name}[/]: {result.trouble}")
    sys.exit(1 if failed else 0)


def _teacher(card: ModelCard, console: Console) -> Teacher | None:
    try:
        return parse_teacher(str(card.teacher["name"]))
    except TeacherError as error:
        console.print(f"without the teacher's opinion: {error}")
        return None


def _run_all(
    calculator: RemoteCalculator, teacher: Teacher | None, out: Path, console: Console
) -> list[DemoResult]:
    steps = round(DURATION_PS * 1000 / TIMESTEP_FS)
    results = []
    with Progress(
        TextColumn("{task.description:10}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        tasks = {name: progress.add_task(name, total=steps, start=False) for name in MOLECULES}
        for name in MOLECULES:
            task = tasks[name]
            progress.start_task(task)
            results.append(
                run_molecule(
                    name,
                    molecule_from_smiles(PUBLIC_TEST_MOLECULES[name]),
                    calculator,
                    teacher,
                    out,
                    lambda task=task: progress.advance(task),  # type: ignore[misc]
                )
            )
    return results


def _table(results: list[DemoResult], card: ModelCard) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{card.name} {card.version} over HTTP: {DURATION_PS:g} ps NVE at 300 K, "
        f"{TIMESTEP_FS} fs",
        caption=f"F RMSE: components, against {card.teacher['name']}, ten frames of each run",
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("molecule", no_wrap=True)
    for column in (
        "atoms",
        "step p50\nms",
        "p95\nms",
        "drift ± SE\nmeV/atom/ps",
        "mean T\nK",
        "F RMSE\neV/Å",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("bonds", no_wrap=True)
    for result in results:
        figures = result.summary()
        table.add_row(
            str(figures["molecule"]),
            str(figures["atoms"]),
            _shown(figures["step_p50_ms"], ".1f"),
            _shown(figures["step_p95_ms"], ".1f"),
            _shown(figures["drift_mev_per_atom_per_ps"], "+.3f")
            + " ± "
            + _shown(figures["drift_standard_error"], ".3f"),
            _shown(figures["mean_temperature_k"], ".0f"),
            _shown(figures["teacher_force_rmse_ev_per_a"], ".3f"),
            "intact" if figures["bonds_intact"] else "changed",
        )
    return table


def _shown(value: object, form: str) -> str:
    return format(value, form) if isinstance(value, float) else "–"


if __name__ == "__main__":
    run(demo)
