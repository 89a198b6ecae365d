"""Arrivals that heed nobody, at what the gateway can do and at four times that."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forcegate_bench.load.dialects import forcegate_msgpack
from forcegate_bench.load.open_loop import OpenLoop
from forcegate_bench.load.pool import Pool
from forcegate_bench.load.record import Outcomes, waits
from forcegate_bench.load.traffic import drive, send
from forcegate_bench.machine.cores import Layout, layouts, on_core
from forcegate_bench.machine.procfs import cpu_shares, growth, memory_every
from forcegate_bench.report.rows import Findings, Row, absent, at_most, if_calm, plain
from forcegate_bench.servers.gateway import RunningGateway, start_gateway
from forcegate_bench.subjects.in_process import A_FEW, measure_rates
from forcegate_bench.subjects.subject import MOLECULE, Subject

__all__ = ["Overload", "measure_overload"]

_ADMITTED, _REFUSED = 200, 429
_CAPACITY_CLIENTS = 32
_FACTOR = 4.0
_P95_FACTOR_AT_MOST = 2.0
_GROWTH_AT_MOST = 0.05
# Of a stretch; until then the queue fills.
_SETTLING = 0.1
# Shorter advice is not compared with the time that the queue takes to drain.
_ADVICE_FROM_S = 5.0
_ADVICE_FACTOR_AT_MOST = 2.0


@dataclass(frozen=True)
class Overload:
    """How to overload: ``structures`` in a request, first and most ``connections``, and for how
    many ``seconds`` at each rate; ``budget_s`` is the gateway's FORCEGATE_QUEUE_BUDGET_S.
    """

    structures: int
    budget_s: float
    connections: int
    most_connections: int
    seconds: float


@dataclass(frozen=True)
class _Stretch:
    """What a rate led to, by the names of processes: memory in MiB, once a second, and the part
    that each took of its core.
    """

    loop: OpenLoop
    offered: float
    outcomes: Outcomes
    memory: Mapping[str, list[float]]
    cpu: Mapping[str, float]

    @property
    def drain_s(self) -> float:
        """From the last advice to the last answer that somebody had been admitted for."""
        everything = self.loop.record.all()
        last = everything.answered_s[everything.status == _ADMITTED].max()
        return float(last - self.loop.advice[-1][0])


def measure_overload(
    subject: Subject, cores: tuple[int, int], short: Overload, long: Overload, log: Path
) -> Findings:
    """Waits, refusals and memory with the queue of ``short``; advice with that of ``long``."""
    layout = layouts(*cores)[1]
    seconds = 0.25 * short.seconds
    with on_core(layout.inference):
        before = measure_rates(subject.in_process, MOLECULE, seconds, A_FEW)
    found, timed, structures_per_s = _overload(subject, layout, short, log)
    waited, more = _drain(subject, layout, long, structures_per_s / long.structures, log)
    with on_core(layout.inference):
        after = measure_rates(subject.in_process, MOLECULE, seconds, A_FEW)
    what = f"{subject.name}: structures/s in process"
    found.add(if_calm(timed + more, what, before.best, after.best))
    found.add(waited)
    found.rows += before.rows(f"{subject.name} in process before")
    found.rows += after.rows(f"{subject.name} in process after")
    found.notes.append(layout.remark)
    return found


def _overload(
    subject: Subject, layout: Layout, how: Overload, log: Path
) -> tuple[Findings, list[Row], float]:
    """What was asked of the answers, the rows that a busy machine would spoil, and the capacity
    in structures a second.
    """
    pool = Pool.make(forcegate_msgpack(subject.name), MOLECULE, how.structures)
    with _gateway(subject, layout, how, log) as gateway:
        capacity = _capacity(gateway, pool, how, layout)
        at_once = _stretch(gateway, pool, how, capacity, layout)
        at_four = _stretch(gateway, pool, how, _FACTOR * capacity, layout)
        gateway.require_whole()
    label = f"{subject.name}, requests of {how.structures}, queue of {how.budget_s:g} s"
    found = Findings()
    timed = [plain(f"{label}: capacity", capacity * how.structures, "structures/s")]
    for factor, stretch in ((1, at_once), (_FACTOR, at_four)):
        where = f"{label}, {factor:g} × capacity"
        found.add(_answers(where, stretch))
        timed += _waits(where, stretch, how)
        for name, mib in stretch.memory.items():
            row = at_most(
                f"{where}: {name}'s memory, last third over first",
                100 * growth(mib),
                100 * _GROWTH_AT_MOST,
                "%",
            )
            found.rows += [row, plain(f"{where}: {name}'s memory, most", max(mib), "MiB")]
    p95 = [stretch.outcomes.quantile_ms(0.95) for stretch in (at_once, at_four)]
    name = f"{label}: p95 of the admitted, {_FACTOR:g} × / 1 × capacity"
    timed.insert(0, at_most(name, p95[1] / p95[0], _P95_FACTOR_AT_MOST))
    return found, timed, capacity * how.structures


def _drain(
    subject: Subject, layout: Layout, how: Overload, capacity: float, log: Path
) -> tuple[Findings, list[Row]]:
    """Fill a long queue, stop, and compare the last advice with how long the rest took."""
    pool = Pool.make(forcegate_msgpack(subject.name), MOLECULE, how.structures)
    with _gateway(subject, layout, how, log) as gateway:
        stretch = _stretch(gateway, pool, how, _FACTOR * capacity, layout)
        gateway.require_whole()
    label = f"{subject.name}, requests of {how.structures}, queue of {how.budget_s:g} s"
    found = _answers(f"{label}, {_FACTOR:g} × capacity", stretch)
    asked = f"{label}: last advised wait and true drain, larger over smaller"
    want = f"≤ {_ADVICE_FACTOR_AT_MOST:g}"
    if not stretch.loop.advice:
        found.notes.append(
            f"{label}: nobody was refused; {stretch.loop.opened} connections did not fill the "
            "queue. Allow more of them, or larger requests."
        )
        return found, [absent(asked, want)]
    advised, drain = stretch.loop.advice[-1][1], stretch.drain_s
    late = [wait for when, wait in stretch.loop.advice if when > stretch.loop.advice[-1][0] - 1.0]
    rows = [
        plain(f"{label}: last advised wait", advised, "s"),
        plain(f"{label}: advised wait, median of the last second", float(np.median(late)), "s"),
        plain(f"{label}: from then to the last answer", drain, "s"),
    ]
    if advised >= _ADVICE_FROM_S:
        factor = max(advised / drain, drain / advised)
        return found, [at_most(asked, factor, _ADVICE_FACTOR_AT_MOST), *rows]
    found.notes.append(f"{label}: the last advice was below {_ADVICE_FROM_S:g} s, too short.")
    return found, [absent(asked, want), *rows]


def _gateway(
    subject: Subject, layout: Layout, how: Overload, log: Path
) -> AbstractContextManager[RunningGateway]:
    return start_gateway(subject, layout, log, {"FORCEGATE_QUEUE_BUDGET_S": str(how.budget_s)})


def _capacity(gateway: RunningGateway, pool: Pool, how: Overload, layout: Layout) -> float:
    """Requests a second of clients that wait for their answers."""
    seconds = 0.25 * how.seconds
    traffic = send(gateway.address, pool, _CAPACITY_CLIENTS, seconds, layout.traffic)
    return traffic.outcomes.per_second()


def _stretch(
    gateway: RunningGateway, pool: Pool, how: Overload, rate: float, layout: Layout
) -> _Stretch:
    """Let requests arrive at ``rate`` a second, then wait for what was admitted."""
    loop = OpenLoop(gateway.address, pool.requests, how.connections, how.most_connections)
    processes = {**gateway.pids, "load generator": os.getpid()}
    memory: dict[int, list[float]] = {}
    settling_s = _SETTLING * how.seconds

    async def run() -> dict[int, float]:
        watching = asyncio.create_task(memory_every(1.0, gateway.pids.values(), memory))
        try:
            _, cpu = await asyncio.gather(
                loop.run(rate, how.seconds),
                cpu_shares(processes.values(), settling_s, how.seconds - settling_s),
            )
        finally:
            watching.cancel()
        return cpu

    cpu = drive(run(), layout.traffic)
    begin = loop.began_s
    return _Stretch(
        loop,
        rate,
        loop.record.due_between(begin + settling_s, begin + how.seconds),
        {name: memory[pid] for name, pid in gateway.pids.items()},
        {name: cpu[pid] for name, pid in processes.items()},
    )


def _answers(where: str, stretch: _Stretch) -> Findings:
    others = stretch.loop.record.all().others(_ADMITTED, _REFUSED)
    found = Findings(
        [at_most(f"{where}: neither 200 nor 429", sum(others.values()), 0, "requests")]
    )
    if others:
        found.notes.append(f"{where}: other statuses (0: connection lost): {others}.")
    if stretch.loop.withheld:
        found.notes.append(
            f"{where}: {stretch.loop.withheld} requests were not sent because all "
            f"{stretch.loop.opened} connections were busy."
        )
    return found


def _waits(where: str, stretch: _Stretch, how: Overload) -> list[Row]:
    outcomes = stretch.outcomes
    advised = [seconds for _, seconds in stretch.loop.advice]
    rows = [
        plain(f"{where}: offered", stretch.offered * how.structures, "structures/s"),
        plain(f"{where}: answered", outcomes.per_second() * how.structures, "structures/s"),
        plain(f"{where}: refused", outcomes.count(_REFUSED) / len(outcomes.status), "×"),
        *waits(f"{where}: admitted", outcomes),
        plain(f"{where}: connections", stretch.loop.opened, "connections"),
    ]
    rows += [
        plain(f"{where}: part of a core taken by the {name}", share, "×")
        for name, share in stretch.cpu.items()
    ]
    if outcomes.count(_REFUSED):
        rows += waits(f"{where}: refusals", outcomes, _REFUSED)
        rows.append(plain(f"{where}: advised wait, median", float(np.median(advised)), "s"))
    return rows
