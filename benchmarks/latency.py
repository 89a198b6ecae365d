"""One MD step, evaluated in process and over HTTP on loopback: medians and their spread.

Both sides are driven through an ASE calculator, with positions that have not been seen before at
every call: a calculator that answers from its cache would measure nothing.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from ase import Atoms
from ase.calculators.calculator import Calculator
from rich.console import Console
from rich.table import Table

from forcegate_bench.machine import describe
from forcegate_bench.rows import Findings, Row, plain, write
from forcegate_client import RemoteCalculator
from forcegate_client.cli.outspoken import run
from forcegate_service.fake import write_fake_model
from forcegate_service.loading import load_version, newest_version
from forcegate_service.runtimes.choose import runtime_loader
from forcegate_service.settings import Settings
from forcegate_trainer.demo.gateway import running_gateway
from forcegate_trainer.simulation.exported import RuntimeCalculator
from forcegate_trainer.validation.molecules import PUBLIC, molecule_from_smiles

WARM_UP = 20
SHAKE = 0.01  # Å; about what a step of dynamics moves an atom
MOLECULE = "aspirin"


def latencies_ms(calculator: Calculator, atoms: Atoms, steps: int, seed: int) -> np.ndarray:
    """Milliseconds of each of ``steps`` evaluations of energy and forces."""
    rng = np.random.default_rng(seed)
    work = atoms.copy()
    work.calc = calculator
    durations = []
    for _ in range(steps):
        work.positions = atoms.positions + rng.normal(scale=SHAKE, size=atoms.positions.shape)
        started = time.perf_counter()
        work.get_forces()
        durations.append(time.perf_counter() - started)
    return 1e3 * np.array(durations)


def measure(name: str, calculator: Calculator, atoms: Atoms, steps: int, rounds: int) -> list[Row]:
    """p50 and p95 of a step: the median over rounds, and the range that the rounds span."""
    latencies_ms(calculator, atoms, WARM_UP, seed=0)
    sets = [latencies_ms(calculator, atoms, steps, seed) for seed in range(1, rounds + 1)]
    rows: list[Row] = []
    for quantile in (50, 95):
        values = [float(np.percentile(durations, quantile)) for durations in sets]
        for suffix, value in (("", np.median(values)), (" spread", max(values) - min(values))):
            label = f"{name}, {MOLECULE}, p{quantile}{suffix}"
            rows.append(plain(label, float(value), "ms/step"))
    return rows


def in_process(repository: Path, model: str) -> RuntimeCalculator:
    """The newest version of ``model``, opened as the gateway opens it."""
    folder = newest_version(repository, model)
    runtime = load_version(folder, runtime_loader(Settings(model_repository=repository)))
    return RuntimeCalculator(runtime)


@contextmanager
def repository_of(given: Path, fake: bool) -> Iterator[Path]:
    """The repository to measure; a toy model in a temporary one if ``fake``."""
    if not fake:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        write_fake_model(Path(folder))
        # Inherited by the gateway that is started.
        os.environ["FORCEGATE_RUNTIME"] = "fake"
        yield Path(folder)


def main(
    url: Annotated[
        str | None, typer.Option(help="A gateway that runs; else one is started.")
    ] = None,
    model_repository: Annotated[Path, typer.Option()] = Path("model_repository"),
    model: Annotated[str, typer.Option()] = "painn_base",
    fake: Annotated[
        bool, typer.Option("--fake", help="A toy: the cost of everything else.")
    ] = False,
    steps: Annotated[int, typer.Option(min=10, max=2000, help="Evaluations of a round.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, max=20)] = 5,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/latency.json"),
) -> None:
    """Time a step in process and over HTTP."""
    atoms = molecule_from_smiles(PUBLIC[MOLECULE])
    model = "fake" if fake else model
    rows: list[Row] = []
    out.parent.mkdir(parents=True, exist_ok=True)
    if url is None:
        with repository_of(model_repository, fake) as repository:
            local = in_process(repository, model)
            rows += measure(f"{model} in process", local, atoms, steps, rounds)
            with running_gateway(repository, out.with_suffix(".log")) as started:
                remote = RemoteCalculator(started, model=model)
                rows += measure(f"{model} over HTTP", remote, atoms, steps, rounds)
                remote.close()
    else:
        remote = RemoteCalculator(url, model=model)
        rows += measure(f"{model} over HTTP", remote, atoms, steps, rounds)
        remote.close()
    table = Table("what", "value", "unit", title=f"{rounds} rounds of {steps} steps")
    for row in rows:
        table.add_row(row.name, f"{row.value:.3g}", row.unit)
    Console().print(table)
    write(out, "A step, in process and over HTTP", describe(), Findings(rows))


if __name__ == "__main__":
    run(main)
