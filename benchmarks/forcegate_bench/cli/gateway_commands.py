"""The commands that measure a gateway; each starts the ones that it needs.

What measures is imported inside, after the process has been started over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forcegate_bench.cli.frame import Model, Run, Seconds, app, of_gateway
from forcegate_bench.report.rows import Findings
from forcegate_client.cli.outspoken import OutspokenCommand

_BASE = "painn_base"
_DATASET = Path("datasets/forcegate_v3_1.h5")
# Until a queue of ten seconds is full, at three seconds of surplus work a second, and a while.
_FILL_S = 12.0

OfEachStretch = Annotated[float, typer.Option("--seconds", min=1.0, help="Of each stretch.")]
Molecules = Annotated[Path, typer.Option("--dataset", help="Whose molecules are taken.")]


@of_gateway("What HTTP adds to a step")
def overhead(
    run: Run,
    model: Model = _BASE,
    seconds: Annotated[float, typer.Option(min=15.0, help="Time on the clock.")] = 40.0,
) -> Findings:
    """A step over HTTP beside the same in process, part by part."""
    from forcegate_bench.serving.overhead import measure_overhead

    with run.subject(model) as subject:
        return measure_overhead(subject, run.cores, seconds, run.log)


@of_gateway("Throughput over HTTP")
def load(
    run: Run,
    model: Annotated[list[str] | None, typer.Option(help="As often as you like.")] = None,
    seconds: OfEachStretch = 20.0,
) -> Findings:
    """Structures a second over HTTP, over the best batch in process; on two cores and on one."""
    from forcegate_bench.serving.throughput import Wanted, measure_throughput

    found = Findings()
    sizes = {}
    for name in model or [_BASE]:
        with run.subject(name) as subject:
            sizes[subject.name] = subject.n_parameters
    smallest = min(sizes, key=lambda name: sizes[name])
    for name in sizes:
        one_core = {_BASE: 0.75}.get(name, 0.70 if name == smallest else None)
        wanted = Wanted() if run.fake else Wanted(0.85, one_core, 0.95)
        with run.subject(name) as subject:
            found.add(measure_throughput(subject, run.cores, wanted, seconds, run.log))
    if not run.fake:
        found.notes.append("On two cores, 0.95 of the rate in process is the aim beyond 0.85.")
    return found


@of_gateway("Dynamics beside a campaign")
def fairness(
    run: Run,
    model: Model = _BASE,
    structures: Annotated[int, typer.Option(min=1, help="In a request of the campaign.")] = 10_000,
    in_flight: Annotated[int, typer.Option(min=1, help="Requests of the campaign.")] = 2,
    batch_target_s: Annotated[float, typer.Option(help="FORCEGATE_BATCH_TARGET_S.")] = 0.05,
    seconds: OfEachStretch = 30.0,
) -> Findings:
    """What a step of dynamics waits for beside requests of ten thousand structures."""
    from forcegate_bench.serving.fairness import measure_fairness

    with run.subject(model) as subject:
        return measure_fairness(
            subject, run.cores, structures, in_flight, batch_target_s, seconds, run.log
        )


@of_gateway("Overload")
def overload(
    run: Run,
    model: Model = _BASE,
    seconds: Annotated[float, typer.Option(min=1.0, help="At each rate.")] = 60.0,
    structures: Annotated[int, typer.Option(min=1, help="In each request.")] = 16,
    queue_budget_s: Annotated[float, typer.Option(help="FORCEGATE_QUEUE_BUDGET_S.")] = 0.5,
    drain_structures: Annotated[int, typer.Option(help="The same for the advice.")] = 128,
    drain_budget_s: Annotated[float, typer.Option(help="The same for the advice.")] = 10.0,
    connections: Annotated[int, typer.Option(min=1, help="To begin with.")] = 48,
    most_connections: Annotated[int, typer.Option(min=1)] = 2048,
) -> Findings:
    """What becomes of requests when four times as many arrive as can be answered."""
    from forcegate_bench.serving.overload import Overload, measure_overload

    short = Overload(structures, queue_budget_s, connections, most_connections, seconds)
    fill_s = min(seconds, _FILL_S)
    long = Overload(drain_structures, drain_budget_s, connections, most_connections, fill_s)
    with run.subject(model) as subject:
        return measure_overload(subject, run.cores, short, long, run.log)


@of_gateway("Serving the same model")
def serving_peers(
    run: Run,
    model: Model = _BASE,
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each column.")] = 10.0,
) -> Findings:
    """The gateway beside FastAPI, LitServe and ASE's socket calculator, with the same weights."""
    from forcegate_bench.serving.serving_peers import measure_serving_peers

    with run.subject(model, engine=False) as scripted, run.subject(model) as shipped:
        return measure_serving_peers(scripted, shipped, run.cores, seconds, run.log)


@of_gateway("Relaxation in batches")
def relaxation(
    run: Run,
    model: Model = _BASE,
    dataset: Molecules = _DATASET,
    molecules: Annotated[int, typer.Option(min=1)] = 500,
    steps: Annotated[int, typer.Option(min=1, help="Most steps for each.")] = 500,
    slots: Annotated[int, typer.Option(min=1, help="On their way at a time.")] = 256,
    turns: Annotated[int, typer.Option(min=1, help="So often each way.")] = 2,
    check: Annotated[int, typer.Option(min=0, help="So many with ASE's FIRE as well.")] = 100,
) -> Findings:
    """Molecules relaxed in batches through a gateway, over the same relaxer in process."""
    from forcegate_bench.serving.relaxation import Task, measure_relaxation, shaken_molecules

    task = Task(shaken_molecules(dataset, molecules), steps, slots, turns, check)
    with run.subject(model) as subject:
        return measure_relaxation(subject, run.cores, task, run.log)


@of_gateway("Runs on the server")
def runs(
    run: Run,
    model: Model = _BASE,
    minima: Annotated[int, typer.Option(min=1, help="Molecules that are relaxed.")] = 500,
    short: Annotated[bool, typer.Option(help="Two seconds each and few molecules.")] = False,
    seconds: OfEachStretch = 20.0,
) -> Findings:
    """Dynamics and relaxation on the server over the same in process, and beside clients."""
    from forcegate_bench.serving.runs import measure_runs

    stretch, molecules = (2.0, 50) if short else (seconds, minima)
    with run.subject(model) as subject:
        return measure_runs(subject, run.cores, stretch, molecules, run.log)


@of_gateway("Screening")
def screening(
    run: Run,
    model: Model = "painn_ultra_tiny",
    dataset: Molecules = _DATASET,
    structures: Annotated[int, typer.Option(min=2000)] = 100_000,
    kills: Annotated[int, typer.Option(min=0)] = 5,
) -> Findings:
    """A library through `forcegate screen`: the rate over that in process, and what kills cost."""
    from forcegate_bench.serving.screening import measure_screening

    with run.subject(model) as subject:
        return measure_screening(subject, run.cores, dataset, structures, kills, run.log)


@of_gateway("What watching requests costs")
def monitoring(run: Run, model: Model = _BASE, seconds: Seconds = 90.0) -> Findings:
    """A gateway with and without its observers, and the observers alone."""
    from forcegate_bench.serving.monitoring import measure_monitoring

    with run.subject(model) as subject:
        return measure_monitoring(subject, run.cores, seconds)


@of_gateway("Soak")
def soak(
    run: Run,
    model: Model = _BASE,
    minutes: Annotated[float, typer.Option(min=0.1, max=120.0)] = 10.0,
) -> Findings:
    """Mixed traffic, bad requests and callers who hang up: answers and memory."""
    from forcegate_bench.serving.soak import measure_soak

    with run.subject(model) as subject:
        return measure_soak(subject, run.cores, minutes, run.log)


@of_gateway("Triton beside the embedded runtime")
def triton(
    run: Run,
    model: Model = _BASE,
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each turn of each.")] = 8.0,
) -> Findings:
    """The same model by the engine, by TorchScript, and by a real Triton server."""
    from forcegate_bench.serving.triton import measure_triton

    return measure_triton(run.repository, model, run.cores, seconds, run.log)


@app.command(cls=OutspokenCommand)
def side_by_side(
    urls: Annotated[list[str], typer.Argument(help="The first is what the others are set beside.")],
    model: Model = _BASE,
    seconds: Seconds = 30.0,
) -> None:
    """A step at gateways that run already, by turns: two versions, with a proxy and without."""
    from rich.console import Console

    from forcegate_bench.serving.side_by_side import measure_side_by_side

    Console().print(measure_side_by_side(urls, model, seconds))
