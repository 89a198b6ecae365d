"""What Triton costs beside the embedded runtime: a step by its phases, and 32 clients.

Three gateways with the same weights take turns: the engine, TorchScript, and a real Triton
server (its Python backend, which evaluates TorchScript too). Inference has one core, the gateway's
event loop shares the other one with whoever asks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from forcegate_bench.load.dialects import forcegate_msgpack
from forcegate_bench.load.pool import Pool
from forcegate_bench.load.traffic import send
from forcegate_bench.machine.cores import layouts
from forcegate_bench.report.rows import Findings, at_most, plain
from forcegate_bench.servers.gateway import RunningGateway, start_gateway
from forcegate_bench.servers.triton_server import running_triton
from forcegate_bench.serving.overhead import PARTS, Steps, measure_steps, quantile
from forcegate_bench.subjects.structures import Shaken
from forcegate_bench.subjects.subject import MOLECULE, subject_of

__all__ = ["measure_triton"]

_CLIENTS = 32
_TURNS = 3
_ENGINE, _SCRIPT, _TRITON = "embedded, engine", "embedded, TorchScript", "Triton, TorchScript"


@dataclass
class _Measured:
    """Of one gateway: its steps, structures a second in each turn, requests without an answer."""

    steps: Steps = field(default_factory=Steps)
    rates: list[float] = field(default_factory=list)
    failed: int = 0


def measure_triton(
    repository: Path, model: str, cores: tuple[int, int], seconds: float, log: Path
) -> Findings:
    """Steps and rates of all three, ``seconds`` for each turn of each.

    Raises:
        TritonUnusable: if its server does not come up.
    """
    layout = layouts(*cores)[0]
    measured = {name: _Measured() for name in (_ENGINE, _SCRIPT, _TRITON)}
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        # First of all, because it says in words what is not there.
        subjects = {
            name: running.enter_context(subject_of(repository, model, engine=name == _ENGINE))
            for name in measured
        }
        triton = running_triton(
            repository / model, folder, layout.inference, log.with_suffix(".triton.log")
        )
        address = running.enter_context(triton)
        settings = {_TRITON: {"FORCEGATE_RUNTIME": "triton", "FORCEGATE_TRITON_URL": address}}
        gateways: dict[str, RunningGateway] = {}
        for name, subject in subjects.items():
            own = log.with_suffix(f".{len(gateways)}.log")
            starting = start_gateway(subject, layout, own, settings.get(name))
            gateways[name] = running.enter_context(starting)
        pool, shaken = Pool.make(forcegate_msgpack(model), MOLECULE), Shaken(MOLECULE)
        for _ in range(_TURNS):
            for name, gateway in gateways.items():
                one = measured[name]
                steps = measure_steps(gateway.address.url, model, shaken, 0.5 * seconds)
                one.steps.whole += steps.whole
                one.steps.parts += steps.parts
                traffic = send(gateway.address, pool, _CLIENTS, 0.5 * seconds, layout.traffic)
                one.rates.append(traffic.structures_per_s)
                one.failed += traffic.failed
    return _findings(measured)


def _findings(measured: Mapping[str, _Measured]) -> Findings:
    failed = sum(one.failed for one in measured.values())
    rows = [at_most("requests not answered with 200", failed, 0, "requests")]
    for name, one in measured.items():
        parts = dict(zip(PARTS, zip(*one.steps.parts, strict=True), strict=True))
        for what, times in {"a step": one.steps.whole, **parts}.items():
            rows.append(plain(f"{name}: {what}, p50", quantile(times, 0.5), "ms"))
            rows.append(plain(f"{name}: {what}, p95", quantile(times, 0.95), "ms"))
        rows.append(plain(f"{name}: {_CLIENTS} clients", median(one.rates), "structures/s"))
    triton, script = measured[_TRITON], measured[_SCRIPT]
    for percent, share in (("p50", 0.5), ("p95", 0.95)):
        over = quantile(triton.steps.whole, share) - quantile(script.steps.whole, share)
        label = f"Triton − embedded, both TorchScript: a step, {percent}"
        rows.append(plain(label, over, "ms"))
    ratios = [a / b for a, b in zip(triton.rates, script.rates, strict=True)]
    label = f"Triton / embedded, both TorchScript: {_CLIENTS} clients"
    rows.append(plain(label, median(ratios), "×"))
    note = (
        "Triton runs its Python backend, whose process for models is another one than the server: "
        "NVIDIA's images have a PyTorch backend, which was not at hand."
    )
    return Findings(rows, [note])
