"""Students on a CUDA GPU: one command, one table; checked against the CPU before it is timed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from forcegate_bench.gpu_variants import Captured, Evaluate, steps_ms
from forcegate_bench.machine import describe
from forcegate_bench.models import Inputs, inputs_of, potential_of
from forcegate_bench.rows import Findings, at_most, plain, write
from forcegate_bench.structures import BOXES, Shaken
from forcegate_client.cli.outspoken import run
from forcegate_service.card import ModelCard
from forcegate_service.loading import version_folders
from forcegate_service.torchscript import load_script
from forcegate_trainer.network.config import PRESETS

ASPIRIN = "aspirin (21 atoms)"
BATCHES = (1, 8, 64, 256, 1024)
CUTOFF, SKIN = 5.0, 0.3  # Å; with the skin no edge is missed when atoms are shaken
TOLERANCE = 1e-3  # eV/Å between device and CPU, single precision
FRESH = 16  # sets of positions

# A model's name, its evaluation on the CPU, and its ways to run on the device.
Entry = tuple[str, Evaluate, dict[str, Callable[[], Evaluate]]]


def models(device: str, presets: list[str], repository: Path) -> Iterator[Entry]:
    """Presets with random weights, then the models of the repository."""
    for name in presets:
        config = PRESETS[name]
        potential = potential_of(config)

        def eager(name: str = name) -> Evaluate:
            return _without_gradients(potential_of(PRESETS[name]).to(device))

        yield name, _without_gradients(potential), {"eager": eager}
    for folder in version_folders(repository) if repository.is_dir() else []:
        card = ModelCard.load(folder)
        content = card.read(folder)

        def scripted(content: bytes = content) -> Evaluate:
            return _without_gradients(load_script(content, device))

        ways: dict[str, Callable[[], Evaluate]] = {"TorchScript": scripted}
        yield f"{card.name}/{card.version}", _without_gradients(load_script(content)), ways


def _without_gradients(module: Callable[..., tuple[torch.Tensor, ...]]) -> Evaluate:
    def evaluate(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            return module(*inputs)

    return evaluate


def measure(
    entry: Entry, cases: list[tuple[str, int]], device: str, seconds: float
) -> Iterator[tuple[Findings, tuple[str, ...]]]:
    """Rows and the table's line for every variant of a model and every case."""
    name, on_cpu, ways = entry
    for way, make in ways.items():
        try:
            evaluate = make()
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            yield Findings(notes=[f"{name}, {way}: {reason[-1]}"]), ()
            continue
        for structure, copies in cases:
            shaken = Shaken(structure, copies)
            inputs = inputs_of(shaken.batch, CUTOFF + SKIN)
            there = tuple(tensor.to(device) for tensor in inputs)
            label = structure + (f" × {copies}" if copies > 1 else "")
            variants: dict[str, Callable[[], Evaluate]] = {way: partial(_same, evaluate)}
            if device == "cuda":
                variants[f"{way}, CUDA graph"] = partial(Captured, evaluate, there)
            for variant, prepare in variants.items():
                where = f"{name}, {variant}, {label}"
                try:
                    run = prepare()
                    apart = deviation(run, on_cpu, inputs, there, shaken)
                    positions = [_fresh(shaken, device) for _ in range(FRESH)]
                    times = steps_ms(run, there, positions, seconds)
                except RuntimeError as error:
                    yield Findings(notes=[f"{where}: {str(error).strip().splitlines()[0]}"]), ()
                    continue
                yield _report(where, times, apart, len(inputs[0]))


def _same(evaluate: Evaluate) -> Evaluate:
    return evaluate


def deviation(
    run: Evaluate, on_cpu: Evaluate, inputs: Inputs, there: Inputs, shaken: Shaken
) -> float:
    """The largest difference of a force from the CPU's, in eV/Å, at fresh positions."""
    positions = _fresh(shaken, "cpu")
    expected = on_cpu(positions, *inputs[1:])[1]
    received = run(positions.to(there[0].device), *there[1:])[1]
    return float((received.cpu() - expected).abs().max())


def _fresh(shaken: Shaken, device: str) -> torch.Tensor:
    return torch.from_numpy(shaken.next_batch().positions).to(device)


def _report(
    where: str, times: list[float], apart: float, n_atoms: int
) -> tuple[Findings, tuple[str, ...]]:
    median = statistics.median(times)
    per_atom, rate = 1e3 * median / n_atoms, 1e3 * n_atoms / median
    found = Findings(
        [
            plain(f"{where}: step", median, "ms"),
            plain(f"{where}: per atom and step", per_atom, "µs/atom/step"),
            plain(f"{where}: throughput", rate, "atoms/s"),
            at_most(f"{where}: largest deviation from the CPU", apart, TOLERANCE, "eV/Å"),
        ]
    )
    return found, (where, f"{median:.3f}", f"{per_atom:.3f}", f"{rate:.3g}", f"{apart:.1e}")


def main(
    device: Annotated[str, typer.Option(help="cpu: a dry run of the same code.")] = "cuda",
    preset: Annotated[list[str] | None, typer.Option(help="Which; all unless given.")] = None,
    model_repository: Annotated[Path, typer.Option()] = Path("model_repository"),
    seconds: Annotated[float, typer.Option(min=0.0, help="On the clock, per line.")] = 0.3,
    largest_batch: Annotated[int, typer.Option(min=1)] = max(BATCHES),
    boxes: Annotated[bool, typer.Option(help="Also periodic boxes of water.")] = True,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/gpu.json"),
) -> None:
    """Sweep batches of aspirin and boxes of water over all models; about five minutes."""
    console = Console()
    if device == "cuda" and not torch.cuda.is_available():
        typer.echo(
            "no CUDA device here: run this on a machine with one, or with --device cpu", err=True
        )
        raise typer.Exit(2)
    cases = [(ASPIRIN, size) for size in BATCHES if size <= largest_batch]
    if boxes:
        cases += [(box, 1) for box in BOXES] + [(list(BOXES)[-1], 16)]
    machine = describe()
    if device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
        machine["CUDA"] = str(torch.version.cuda)
    found = Findings()
    table = Table("what", "ms/step", "µs/atom/step", "atoms/s", "force deviation, eV/Å")
    names = list(PRESETS) if preset is None else preset
    for name, on_cpu, ways in models(device, names, model_repository):
        entry = (name, on_cpu, ways)
        for more, line in measure(entry, cases, device, seconds):
            found.add(more)
            if line:
                table.add_row(*line)
            for note in more.notes:
                console.print(f"- {note}")
    console.print(table)
    write(out, f"Students on {machine.get('gpu', 'the CPU (dry run)')}", machine, found)


if __name__ == "__main__":
    run(main)
