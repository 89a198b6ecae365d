"""What each way of learning from a mentor is worth to a small student, for the same work.

Every variant gets the work of ``--steps`` plain steps: a step that costs twice as much is taken
half as often. What a step costs is measured in this run, by turns, in time on the core, so that
neither the machine nor who else uses it decides. ``longer`` is plain training with ``--longer``
times the work: what the same gain costs without a mentor. Asking the mentor happens once, before
training, and is told apart. ``adamw`` is plain training without Muon.

    benchmarks/ablation.py train.h5 validation.h5 --mentor model_repository/painn_base/4 \
        --extra extra.h5 --steps 20000 --out runs/ablation
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from forcegate_client.cli.outspoken import run

TURNS = 5
WARM_UP = 12  # steps: compiling is not on the clock
VARIANTS = ("plain", "adamw", "longer", "extra", "atomic", "features", "hessian", "together")
# The better of 1e-3 and 2e-3 in a short trial; 4e-3 and more were not tried.
_ADAMW_RATE = 2e-3
FIGURES = {
    "force_rmse": "force RMSE (eV/Å)",
    "force_mae": "force MAE (eV/Å)",
    "energy_mae_mev_per_atom": "energy MAE (meV/atom)",
}


@dataclass(frozen=True)
class Weights:
    """Of the terms against a mentor, each used by a variant of its own and by ``together``."""

    atomic: float = 1.0
    features: float = 0.02
    hessian: float = 0.05


def variants(
    plain: Any, mentor: Path | None, extra: tuple[str, ...], weights: Weights, longer: float
) -> dict[str, Any]:
    """Settings by name; those that need a mentor or extra frames only where there are some."""
    from forcegate_trainer.data.datasets import load_all
    from forcegate_trainer.fit.data import load_extra
    from forcegate_trainer.fit.distillation.mentor import find_mentor

    dataset = load_all(plain.datasets)
    found = {
        "plain": plain,
        "adamw": replace(plain, optimizer="adamw", learning_rate=_ADAMW_RATE),
        "longer": replace(plain, steps=round(longer * plain.steps)),
    }
    if extra:
        found["extra"] = replace(plain, extra=load_extra(extra, dataset).record)
    if mentor is not None:
        asked = {
            "atomic": {"atomic_energy_weight": weights.atomic},
            "features": {"feature_weight": weights.features},
            "hessian": {"hessian_weight": weights.hessian},
        }
        asked["together"] = {name: value for one in asked.values() for name, value in one.items()}
        for name, terms in asked.items():
            before = found.get("extra", plain) if name == "together" else plain
            found[name] = replace(before, distillation=find_mentor(mentor, terms, dataset))
    return {name: found[name] for name in VARIANTS if name in found}


def prepare(config: Any, folder: Path, asked: Path) -> float | None:
    """Have the mentor's answers in ``folder``; how many seconds they took, None without one.

    Each question about the same frames is asked once, and its answers shared from ``asked``.
    """
    from forcegate_trainer.fit.data import load_training_data
    from forcegate_trainer.fit.distillation.targets import (
        asking_seconds,
        prepare_targets,
        share_targets,
    )

    if config.distillation is None:
        return None
    training = load_training_data(config).training
    home = asked / training.content_hash()[:12]
    prepare_targets(config.distillation, training, home, config.seed)
    share_targets(home, folder)
    return asking_seconds(config.distillation, home)


def stepper(config: Any, folder: Path) -> Callable[[int], object]:
    """A whole step of that number, batch included, as ``fit`` takes it with one worker."""
    from forcegate_trainer.fit.batch_source import BatchSource
    from forcegate_trainer.fit.data import load_training_data
    from forcegate_trainer.fit.loop import new_student
    from forcegate_trainer.fit.step import TrainingStep
    from forcegate_trainer.progress import tell_nobody

    alone = replace(config, workers=1)
    data = load_training_data(alone)
    model = new_student(alone, data)
    source = BatchSource(alone, data, model, folder, tell_nobody)
    take_step = TrainingStep(model, alone, source.mentor_features)
    return lambda number: take_step(source.batch(number, 0), 1e-5, number)


def cost(step: Callable[[int], object], plain: Callable[[int], object], count: int) -> float:
    """Time on the core of a step over that of a plain one: the median of turns of ``count``."""
    for number in range(WARM_UP):
        step(number)
        plain(number)
    ratios = []
    for turn in range(TURNS):
        numbers = range(turn * count, (turn + 1) * count)
        ratios.append(_seconds(step, numbers) / _seconds(plain, numbers))
    return statistics.median(ratios)


def _seconds(step: Callable[[int], object], numbers: range) -> float:
    started = time.process_time()
    for number in numbers:
        step(number)
    return time.process_time() - started


def measure(
    chosen: dict[str, Any], folders: dict[str, Path], asked: Path, known: dict[str, Any], count: int
) -> dict[str, Any]:
    """What a step of each costs, and asking its mentor; what is ``known`` is not measured again."""
    import torch

    found: dict[str, Any] = {}
    for name, config in chosen.items():
        asking = prepare(config, folders[name], asked)
        ratio = known.get(name, {}).get("cost", 1.0 if name in ("plain", "longer") else None)
        if ratio is None:
            # Compiled functions are cached by their source, and so many of one source at most.
            torch._dynamo.reset()
            plain = stepper(chosen["plain"], folders["plain"])
            ratio = cost(stepper(config, folders[name]), plain, count)
        found[name] = {"cost": ratio, "asking_s": asking}
    return found


def train(config: Any, folder: Path, say: Callable[[str], None]) -> dict[str, float]:
    """The figures of the best validation of a run, which goes on where it was stopped."""
    import torch

    from forcegate_trainer.fit.run import fit
    from forcegate_trainer.network.storage import METRICS_NAME

    torch._dynamo.reset()
    say(f"{folder.name}: {config.steps} steps")
    fit(config, folder, lambda step, total, known: None, curves=True)
    rows = [json.loads(line) for line in (folder / METRICS_NAME).read_text().splitlines()]
    best: dict[str, float] = min(rows, key=lambda row: row["force_rmse"])
    return {"step": best["step"], **{name: best[name] for name in FIGURES}}


def table(found: dict[str, dict[str, Any]], seeds: list[int], title: str) -> str:
    """Markdown: a row for each variant, means over seeds with the greatest and the least."""
    heads = ["variant", "steps", "cost of a step", "asking (s)", *FIGURES.values()]
    lines = [f"# {title}", "", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, one in found.items():
        asking = "–" if one["asking_s"] is None else f"{one['asking_s']:.0f}"
        cells = [name, str(one["steps"]), f"{one['cost']:.2f}", asking]
        for figure in FIGURES:
            values = [run[figure] for run in one["runs"].values()]
            cell = f"{statistics.mean(values):.4g}"
            cells.append(cell + (f" ({min(values):.4g} … {max(values):.4g})" * (len(seeds) > 1)))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(
    datasets: Annotated[list[Path], typer.Argument(help="Labelled, with validation molecules.")],
    out: Annotated[Path, typer.Option(help="Folder for runs, ablation.json and ablation.md.")],
    steps: Annotated[int, typer.Option(min=10, help="Plain steps; the work that each gets.")],
    model: Annotated[str, typer.Option()] = "painn_ultra_tiny",
    mentor: Annotated[Path | None, typer.Option(help="Version folder.")] = None,
    extra: Annotated[list[Path] | None, typer.Option(help="Frames the mentor labelled.")] = None,
    only: Annotated[str, typer.Option(help=f"Of {', '.join(VARIANTS)}; plain always.")] = "",
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "0",
    longer: Annotated[float, typer.Option(min=1.0)] = 2.0,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    learning_rate: Annotated[float, typer.Option(min=0)] = 3e-3,
    validate_steps: Annotated[int, typer.Option(min=0)] = 0,
    workers: Annotated[int, typer.Option(min=1)] = 1,
    compile_step: Annotated[bool, typer.Option("--compile/--no-compile")] = True,
    atomic_weight: Annotated[float, typer.Option(min=0)] = Weights.atomic,
    feature_weight: Annotated[float, typer.Option(min=0)] = Weights.features,
    hessian_weight: Annotated[float, typer.Option(min=0)] = Weights.hessian,
    clock_steps: Annotated[int, typer.Option(min=1, help="Timed steps of each turn.")] = 20,
) -> None:
    """Train all variants; stopped, it goes on when called again."""
    import torch
    from rich.console import Console

    from forcegate_trainer.data.datasets import load_all
    from forcegate_trainer.fit.config import FitConfig
    from forcegate_trainer.fit.device import keep_memory
    from forcegate_trainer.network.config import PRESETS

    torch.set_num_threads(1)
    keep_memory()
    console = Console()
    paths = tuple(map(str, datasets))
    plain = FitConfig(
        model=model,
        architecture=PRESETS[model],
        datasets=paths,
        dataset_hash=load_all(paths).content_hash(),
        epochs=1,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        validate_steps=validate_steps,
        workers=workers,
        compile=compile_step,
    )
    weights = Weights(atomic_weight, feature_weight, hessian_weight)
    chosen = variants(plain, mentor, tuple(map(str, extra or [])), weights, longer)
    if only:
        wanted = {"plain", *only.split(",")}
        chosen = {name: config for name, config in chosen.items() if name in wanted}
    numbers = [int(seed) for seed in seeds.split(",")]
    homes = {(name, seed): out / f"{name}_{seed}" for name in chosen for seed in numbers}
    out.mkdir(parents=True, exist_ok=True)
    path = out / "costs.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    console.print("measuring what a step of each costs")
    folders = {name: homes[name, numbers[0]] for name in chosen}
    measured = measure(chosen, folders, out / "asked", known, clock_steps)
    path.write_text(json.dumps(known | measured, indent=1) + "\n", encoding="utf-8")
    found: dict[str, dict[str, Any]] = {}
    for name, config in chosen.items():
        scaled = replace(config, steps=max(1, round(config.steps / measured[name]["cost"])))
        runs = {
            seed: train(replace(scaled, seed=seed), homes[name, seed], console.print)
            for seed in numbers
        }
        found[name] = {"steps": scaled.steps, **measured[name], "runs": runs}
        title = f"{model}: {steps} plain steps of {batch_size} frames, or as much work"
        text = table(found, numbers, title)
        (out / "ablation.md").write_text(text, encoding="utf-8")
        settings = {"model": model, "steps": steps, "longer": longer, **vars(weights)}
        results = json.dumps({"settings": settings, "variants": found}, indent=1)
        (out / "ablation.json").write_text(results + "\n", encoding="utf-8")
    console.print(text, markup=False)


if __name__ == "__main__":
    run(main)
