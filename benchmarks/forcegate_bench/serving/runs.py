"""Dynamics and relaxation on the server, over the same in this process, in one run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from ase import units
from ase.md.verlet import VelocityVerlet

from forcegate_bench.load.dialects import forcegate_msgpack
from forcegate_bench.load.pool import Pool
from forcegate_bench.load.record import waits
from forcegate_bench.load.traffic import send
from forcegate_bench.machine.cores import Layout, layouts, on_core
from forcegate_bench.report.rows import Findings, Row, at_least, at_most, if_calm, plain
from forcegate_bench.servers.gateway import RunningGateway, metric, start_gateway
from forcegate_bench.subjects.structures import Shaken
from forcegate_bench.subjects.subject import MOLECULE, Subject
from forcegate_client import RemoteCalculator
from forcegate_client.runs import RUN_PATHS, RunRequest, RunSummary
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE
from forcegate_client.wire.run_records import RECORDS, RecordReader
from forcegate_client.wire.run_request import encode_run
from forcegate_engine import Model, integrate, relax

__all__ = ["measure_runs"]

_RUNS, _MINIMA, _INTERACTIVE = 64, 500, 8
_TARGET_S = 0.05
_STEP_FS = 0.5
_FMAX, _MOST_STEPS = 0.05, 500
# Against ASE's Verlet over HTTP; what a step of the smallest student costs is mostly the way.
_BESIDE_ASE = {"painn_base": 2.0, "painn_ultra_tiny": 5.0}


def measure_runs(
    subject: Subject, cores: tuple[int, int], seconds: float, minima: int, log: Path
) -> Findings:
    """One run and many, beside clients that ask for steps; ``seconds`` each stretch takes."""
    layout = layouts(*cores)[0]
    model = Model.open(subject.folder)
    one = StructureBatch.from_atoms([Shaken(MOLECULE).next_atoms()])
    many = Shaken(MOLECULE, copies=_RUNS).next_batch()
    found = Findings(notes=[layout.remark, f"Times in steps of {_STEP_FS} fs; {MOLECULE}."])
    name = subject.name
    with start_gateway(subject, layout, log) as gateway:
        with on_core(layout.inference):
            before = _integrated(model, one, seconds, 1)
        served = _streamed(gateway, one, name, seconds)
        by_ase = _steps_by_ase(gateway, name, seconds, layout)
        with on_core(layout.inference):
            after = _integrated(model, one, seconds, 1)
        alone = max(before, after)
        rows = [at_least(f"{name}, one run: steps over the engine's", served / alone, 0.90)]
        least = _BESIDE_ASE.get(name)
        ratio, what = served / by_ase, f"{name}, one run: steps over ASE's Verlet by HTTP"
        rows.append(plain(what, ratio, "×") if least is None else at_least(what, ratio, least))
        found.add(if_calm(rows, f"{name}: steps in process, one thread", before, after))
        found.rows.append(plain(f"{name}, one run", served, "steps/s"))
    both = {"FORCEGATE_TORCH_THREADS": "2", "FORCEGATE_BATCH_TARGET_S": str(_TARGET_S)}
    with start_gateway(subject, layout, log, both) as gateway:
        _on_both_cores(gateway, cores)
        before = _integrated(model, many, seconds, 2)
        served = _streamed(gateway, many, name, seconds)
        minima_rows = _minima(gateway, model, name, minima)
        after = _integrated(model, many, seconds, 2)
        rows = [
            at_least(
                f"{name}, {_RUNS} runs: steps over the engine's on two threads",
                served / max(before, after),
                0.95,
            ),
            *minima_rows,
            *_beside_clients(gateway, many, name, seconds, layout, served),
        ]
        found.add(if_calm(rows, f"{name}: steps in process, two threads", before, after))
        gateway.require_whole()
    return found


def _integrated(model: Model, batch: StructureBatch, seconds: float, threads: int) -> float:
    """Steps a second of all structures together, inside the engine."""
    masses = np.concatenate([atoms.get_masses() for atoms in batch.to_atoms()])
    state: dict[str, Any] = {"positions": batch.positions, "velocities": 0.0 * batch.positions}
    done, started, chunk = 0, time.perf_counter(), 10
    while time.perf_counter() < started + seconds:
        motion = integrate(
            *(model, batch.atomic_numbers, state["positions"], state["velocities"], masses),
            steps=chunk,
            timestep_fs=_STEP_FS,
            n_atoms=batch.n_atoms,
            forces=state.get("forces"),
            threads=threads,
        )
        state["positions"], state["velocities"] = motion.positions, motion.velocities
        state["forces"] = motion.evaluation.forces
        done += chunk
    return done * len(batch) / (time.perf_counter() - started)


def _streamed(gateway: RunningGateway, batch: StructureBatch, model: str, seconds: float) -> float:
    """Steps a second of a stream that ends with its time."""
    request = RunRequest("dynamics", batch, model, "nve", 10**9, timestep_fs=_STEP_FS)
    summary = _answered(gateway, request, seconds)
    if summary.steps_per_s is None:
        raise OSError("a stream without steps")
    return summary.steps_per_s


def _answered(gateway: RunningGateway, request: RunRequest, seconds: float) -> RunSummary:
    headers = {"Content-Type": MEDIA_TYPE, "X-Request-Timeout": str(seconds)}
    url = gateway.address.url + RUN_PATHS[request.task]
    body = encode_run(request)
    answer = httpx.post(url, content=body, headers=headers, timeout=None, trust_env=False)
    answer.raise_for_status()
    *_, summary = RecordReader(RECORDS).feed(answer.content)
    if not isinstance(summary, RunSummary):
        raise OSError("a stream that was cut off")
    return summary


def _steps_by_ase(gateway: RunningGateway, model: str, seconds: float, layout: Layout) -> float:
    """Steps a second of ASE's Verlet, which asks for each."""
    atoms = Shaken(MOLECULE).next_atoms()
    atoms.calc = calculator = RemoteCalculator(gateway.address.url, model=model)
    dynamics = VelocityVerlet(atoms, timestep=_STEP_FS * units.fs)
    with on_core(layout.traffic):
        dynamics.run(5)
        done, started = 0, time.perf_counter()
        while time.perf_counter() < started + seconds:
            dynamics.run(10)
            done += 10
        rate = done / (time.perf_counter() - started)
    calculator.close()
    return rate


def _beside_clients(
    gateway: RunningGateway,
    batch: StructureBatch,
    model: str,
    seconds: float,
    layout: Layout,
    quiet_rate: float,
) -> list[Row]:
    """What a client waits for beside the runs, and what the runs keep beside eight clients."""
    pool = Pool.make(forcegate_msgpack(model), MOLECULE)
    quiet = send(gateway.address, pool, 1, seconds, layout.traffic)
    with _running(gateway, batch, model, 4 * seconds):
        beside = send(gateway.address, pool, 1, seconds, layout.traffic)
        start = _steps_so_far(gateway), time.perf_counter()
        send(gateway.address, pool, _INTERACTIVE, seconds, layout.traffic)
        rate = (_steps_so_far(gateway) - start[0]) / (time.perf_counter() - start[1])
    added = beside.outcomes.quantile_ms(0.95) - quiet.outcomes.quantile_ms(0.95)
    label = f"{model}, beside {_RUNS} runs"
    return [
        at_most(f"{label}: p95 of a step − quiet p95", added, 2e3 * _TARGET_S, "ms"),
        at_least(
            f"{model}: {_RUNS} runs beside {_INTERACTIVE} clients, over alone",
            rate / quiet_rate,
            0.7,
        ),
        *waits(f"{model}, quiet: a step", quiet.outcomes),
        *waits(f"{label}: a step", beside.outcomes),
    ]


def _minima(gateway: RunningGateway, model: Model, name: str, count: int) -> list[Row]:
    batch = Shaken(MOLECULE, copies=count).next_batch()
    request = RunRequest("relax", batch, name, "fire", _MOST_STEPS, fmax=_FMAX)
    served = _answered(gateway, request, 3600.0)
    started = time.perf_counter()
    minimum = relax(
        *(model, batch.atomic_numbers, batch.positions),
        n_atoms=batch.n_atoms,
        fmax=_FMAX,
        max_steps=_MOST_STEPS,
        threads=2,
    )
    rate = float(minimum.steps.sum()) / (time.perf_counter() - started)
    ratio = (served.steps_per_s or 0.0) / rate
    same = float(served.steps == int(minimum.steps.sum()))
    return [
        at_least(f"{name}, {count} relaxations: steps over the engine's", ratio, 0.95),
        at_least(f"{name}, {count} relaxations: as many steps as the engine", same, 1.0, ""),
    ]


@contextmanager
def _running(
    gateway: RunningGateway, batch: StructureBatch, model: str, seconds: float
) -> Iterator[None]:
    thread = threading.Thread(target=_streamed, args=(gateway, batch, model, seconds))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _steps_so_far(gateway: RunningGateway) -> float:
    return sum(metric(gateway.address, "forcegate_run_steps_total").values())


def _on_both_cores(gateway: RunningGateway, cores: tuple[int, int]) -> None:
    for pid in gateway.pids.values():
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), cores)
