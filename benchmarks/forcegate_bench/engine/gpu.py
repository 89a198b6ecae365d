"""Students on a CUDA GPU: one command, one table; checked against the CPU before it is timed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from rich.table import Table

from forcegate_bench.engine.gpu_variants import Captured, Evaluate, steps_ms
from forcegate_bench.machine.processor import describe
from forcegate_bench.report.rows import Findings, at_most, plain, write
from forcegate_bench.subjects.models import Inputs, inputs_of, potential_of
from forcegate_bench.subjects.structures import BOXES, Shaken
from forcegate_service.contract.card import ModelCard
from forcegate_service.models.loading import version_folders
from forcegate_service.runtimes.torchscript import load_script
from forcegate_trainer.network.config import PRESETS

__all__ = ["NoGpu", "measure_gpu"]

_ASPIRIN = "aspirin (21 atoms)"
_BATCHES = (1, 8, 64, 256, 1024)
_CUTOFF, _SKIN = 5.0, 0.3  # Å; with the skin no edge is missed when atoms are shaken
_TOLERANCE = 1e-3  # eV/Å between device and CPU, single precision
_FRESH = 16  # sets of positions


class NoGpu(Exception):
    """There is none here."""

    def __str__(self) -> str:
        return "no CUDA device here: run this on a machine with one, or with --device cpu"


# A model's name, its evaluation on the CPU, and its ways to run on the device.
_Entry = tuple[str, Evaluate, dict[str, Callable[[], Evaluate]]]


def _models(device: str, presets: list[str], repository: Path) -> Iterator[_Entry]:
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


def _measure(
    entry: _Entry, cases: list[tuple[str, int]], device: str, seconds: float
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
            inputs = inputs_of(shaken.batch, _CUTOFF + _SKIN)
            there = tuple(tensor.to(device) for tensor in inputs)
            label = structure + (f" × {copies}" if copies > 1 else "")
            variants: dict[str, Callable[[], Evaluate]] = {way: partial(_same, evaluate)}
            if device == "cuda":
                variants[f"{way}, CUDA graph"] = partial(Captured, evaluate, there)
            for variant, prepare in variants.items():
                where = f"{name}, {variant}, {label}"
                try:
                    run = prepare()
                    apart = _deviation(run, on_cpu, inputs, there, shaken)
                    positions = [_fresh(shaken, device) for _ in range(_FRESH)]
                    times = steps_ms(run, there, positions, seconds)
                except RuntimeError as error:
                    yield Findings(notes=[f"{where}: {str(error).strip().splitlines()[0]}"]), ()
                    continue
                yield _report(where, times, apart, len(inputs[0]))


def _same(evaluate: Evaluate) -> Evaluate:
    return evaluate


def _deviation(
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
            at_most(f"{where}: largest deviation from the CPU", apart, _TOLERANCE, "eV/Å"),
        ]
    )
    return found, (where, f"{median:.3f}", f"{per_atom:.3f}", f"{rate:.3g}", f"{apart:.1e}")


def measure_gpu(
    device: str,
    presets: list[str] | None,
    repository: Path,
    seconds: float,
    largest_batch: int,
    boxes: bool,
    out: Path,
) -> Table:
    """Write the rows of all models to ``out`` (JSON, and Markdown beside it); a table of them.

    Raises:
        NoGpu: if there is none, and ``device`` is one.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise NoGpu
    cases = [(_ASPIRIN, size) for size in _BATCHES if size <= largest_batch]
    if boxes:
        cases += [(box, 1) for box in BOXES] + [(list(BOXES)[-1], 16)]
    machine = describe()
    if device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
        machine["CUDA"] = str(torch.version.cuda)
    found = Findings()
    table = Table("what", "ms/step", "µs/atom/step", "atoms/s", "force deviation, eV/Å")
    names = list(PRESETS) if presets is None else presets
    for entry in _models(device, names, repository):
        for more, line in _measure(entry, cases, device, seconds):
            found.add(more)
            if line:
                table.add_row(*line)
    table.caption = "\n".join(f"- {note}" for note in found.notes) or None
    write(out, f"Students on {machine.get('gpu', 'the CPU (dry run)')}", machine, found)
    return table
