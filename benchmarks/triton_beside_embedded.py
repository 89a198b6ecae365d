"""What Triton costs beside the embedded runtime: a step by its phases, and 32 clients.

Three gateways with the same weights take turns: the engine, TorchScript, and a real Triton
server (its Python backend, which evaluates TorchScript too). Inference has one core, the gateway's
event loop shares the other one with whoever asks.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from forcegate_bench.options import Core, Model, OtherCore, Repository, require_two_cores
from forcegate_bench.process import start_over_as_served
from forcegate_client.cli.outspoken import run

CLIENTS = 32
TURNS = 3
ENGINE, SCRIPT, TRITON = "embedded, engine", "embedded, TorchScript", "Triton, TorchScript"


def main(
    model_repository: Repository = Path("model_repository"),
    model: Model = "painn_base",
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each turn of each.")] = 8.0,
    core: Core = 0,
    other_core: OtherCore = 1,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/triton_beside_embedded.json"),
) -> None:
    """Measure with one torch thread; write JSON and Markdown."""
    cores = require_two_cores(core, other_core)
    start_over_as_served(sys.argv, other_core)
    # Imported here because torch has to find the environment of that process.
    import torch
    from rich.console import Console

    from forcegate_bench.cores import layouts
    from forcegate_bench.dialects import forcegate_msgpack
    from forcegate_bench.gateway import start_gateway
    from forcegate_bench.machine import describe
    from forcegate_bench.pool import Pool
    from forcegate_bench.rows import Findings, at_most, plain, write
    from forcegate_bench.structures import Shaken
    from forcegate_bench.subject import MOLECULE, subject_of
    from forcegate_bench.traffic import send
    from forcegate_bench.triton_server import running_triton
    from overhead import PARTS, Steps, measure_steps, quantile

    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    layout = layouts(*cores)[0]
    steps = {name: Steps() for name in (ENGINE, SCRIPT, TRITON)}
    rates: dict[str, list[float]] = {name: [] for name in steps}
    failed = 0
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        log = out.with_suffix(".triton.log")
        # First of all, because it says in words what is not there.
        subjects = {
            name: running.enter_context(subject_of(model_repository, model, engine=name == ENGINE))
            for name in steps
        }
        address = running.enter_context(
            running_triton(model_repository / model, folder, layout.inference, log)
        )
        settings = {
            ENGINE: {},
            SCRIPT: {},
            TRITON: {"FORCEGATE_RUNTIME": "triton", "FORCEGATE_TRITON_URL": address},
        }
        gateways = {}
        for name, wanted in settings.items():
            own = out.with_suffix(f".{len(gateways)}.log")
            gateways[name] = running.enter_context(
                start_gateway(subjects[name], layout, own, wanted)
            )
        pool = Pool.make(forcegate_msgpack(model), MOLECULE)
        shaken = Shaken(MOLECULE)
        for _ in range(TURNS):
            for name, gateway in gateways.items():
                found = measure_steps(gateway.address.url, model, shaken, 0.5 * seconds)
                steps[name].whole += found.whole
                steps[name].parts += found.parts
                traffic = send(gateway.address, pool, CLIENTS, 0.5 * seconds, layout.traffic)
                rates[name].append(traffic.structures_per_s)
                failed += traffic.failed
    found = Findings()
    found.rows.append(at_most("requests not answered with 200", failed, 0, "requests"))
    for name, measured in steps.items():
        found.rows += [
            plain(f"{name}: a step, p50", quantile(measured.whole, 0.5), "ms"),
            plain(f"{name}: a step, p95", quantile(measured.whole, 0.95), "ms"),
        ]
        for part, times in zip(PARTS, zip(*measured.parts, strict=True), strict=True):
            found.rows.append(plain(f"{name}: {part}, p50", quantile(times, 0.5), "ms"))
            found.rows.append(plain(f"{name}: {part}, p95", quantile(times, 0.95), "ms"))
        middle = sorted(rates[name])[TURNS // 2]
        found.rows.append(plain(f"{name}: {CLIENTS} clients", middle, "structures/s"))
    over = [
        quantile(steps[TRITON].whole, share) - quantile(steps[SCRIPT].whole, share)
        for share in (0.5, 0.95)
    ]
    ratios = sorted(a / b for a, b in zip(rates[TRITON], rates[SCRIPT], strict=True))
    found.rows += [
        plain("Triton − embedded, both TorchScript: a step, p50", over[0], "ms"),
        plain("Triton − embedded, both TorchScript: a step, p95", over[1], "ms"),
        plain(f"Triton / embedded, both TorchScript: {CLIENTS} clients", ratios[TURNS // 2], "×"),
    ]
    found.notes.append(
        "Triton runs its Python backend, whose process for models is another one than the server: "
        "NVIDIA's images have a PyTorch backend, which was not at hand."
    )
    write(out, "Triton beside the embedded runtime", describe(), found)
    Console().print(out.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
