"""Everything at once for many minutes: nothing fails, and nothing grows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from forcegate_bench.load.closed_loop import ClosedLoop
from forcegate_bench.load.dialects import forcegate_json, forcegate_msgpack
from forcegate_bench.load.misuse import HangUps, bad_requests
from forcegate_bench.load.pool import Pool
from forcegate_bench.load.record import waits
from forcegate_bench.load.traffic import drive
from forcegate_bench.machine.cores import layouts, on_core
from forcegate_bench.machine.procfs import growth, memory_every
from forcegate_bench.report.rows import Findings, Row, at_least, at_most, plain
from forcegate_bench.servers.gateway import RunningGateway, metric, start_gateway
from forcegate_bench.subjects.subject import MOLECULE, Subject

__all__ = ["measure_soak"]

_GROWTH_AT_MOST = 0.05
_WATCH_EVERY_S = 1.0
# Memory is compared between the first and the last tenth after the first minute.
_SETTLING_S = 60.0
_TENTH = 0.1
_HANG_UP_EVERY_S = 0.05
_BAD_EVERY_S = 0.02
# Clients and structures in a request of each kind of good traffic.
_GOOD = {
    "single structures": (6, 1),
    "single structures in JSON": (1, 1),
    "batches of 64": (2, 64),
    "batches of 1000": (1, 1000),
}
# An answer in a thousand or so.
_SAMPLE_EVERY = {1: 997, 64: 31, 1000: 3}


def measure_soak(subject: Subject, cores: tuple[int, int], minutes: float, log: Path) -> Findings:
    """Mixed traffic for so long."""
    layout = layouts(*cores)[1]
    pools = {name: _pool(subject, name, copies) for name, (_, copies) in _GOOD.items()}
    with start_gateway(subject, layout, log) as gateway:
        loops = {
            name: ClosedLoop(
                gateway.address,
                pools[name].requests,
                clients,
                sample_every=_SAMPLE_EVERY[copies],
            )
            for name, (clients, copies) in _GOOD.items()
        }
        bad = ClosedLoop(
            gateway.address, bad_requests(subject.name, MOLECULE), 1, pause_s=_BAD_EVERY_S
        )
        leaving = [*pools["single structures"].requests, *pools["batches of 64"].requests]
        hang_ups = HangUps(gateway.address, leaving, _HANG_UP_EVERY_S)
        memory = drive(
            _run([*loops.values(), bad], hang_ups, gateway, 60.0 * minutes), layout.traffic
        )
        counted = metric(gateway.address, "forcegate_requests_total")
        gateway.require_whole()
    found = Findings(_grown(subject, gateway.pids, memory))
    found.rows.append(_server_errors(subject, counted))
    for name, loop in loops.items():
        found.rows += _good(f"{subject.name}, {name}", loop, _GOOD[name][1])
        with on_core(layout.inference):
            label = f"{subject.name}, {name}"
            found.rows.append(pools[name].agreement(loop.record.samples, subject.in_process, label))
    found.rows += _bad(f"{subject.name}, bad requests", bad)
    found.rows.append(plain(f"{subject.name}: callers who hung up", hang_ups.count, "callers"))
    found.notes += [f"{minutes:g} minutes of traffic.", layout.remark]
    return found


def _pool(subject: Subject, name: str, copies: int) -> Pool:
    dialect = forcegate_json if "JSON" in name else forcegate_msgpack
    return Pool.make(dialect(subject.name), MOLECULE, copies, most=1024)


async def _run(
    loops: list[ClosedLoop], hang_ups: HangUps, gateway: RunningGateway, seconds: float
) -> dict[int, list[float]]:
    memory: dict[int, list[float]] = {}
    watching = asyncio.create_task(memory_every(_WATCH_EVERY_S, gateway.pids.values(), memory))
    try:
        await asyncio.gather(hang_ups.run(seconds), *(loop.run(seconds) for loop in loops))
    finally:
        watching.cancel()
    return memory


def _grown(
    subject: Subject, pids: Mapping[str, int], memory: Mapping[int, list[float]]
) -> list[Row]:
    rows = []
    for name, pid in pids.items():
        mib = memory[pid]
        settling = min(int(_SETTLING_S / _WATCH_EVERY_S), len(mib) // 3)
        grown = 100 * growth(mib[settling:], _TENTH)
        label = f"{subject.name}: the {name}'s memory"
        asked = f"{label}, last tenth over first, after the first minute"
        rows += [
            at_most(asked, grown, 100 * _GROWTH_AT_MOST, "%"),
            plain(f"{label}, most", max(mib), "MiB"),
        ]
    return rows


def _server_errors(subject: Subject, counted: Mapping[str, float]) -> Row:
    """By the server's own count, which knows what it would have told those who left."""
    failed = sum(value for name, value in counted.items() if 'code="5' in name)
    return at_most(f"{subject.name}: answers with 5xx", failed, 0, "requests")


def _good(label: str, loop: ClosedLoop, copies: int) -> list[Row]:
    outcomes = loop.record.all()
    return [
        at_most(f"{label}: not 200", sum(outcomes.others(200).values()), 0, "requests"),
        plain(f"{label}: answered", copies * outcomes.per_second(), "structures/s"),
        *waits(label, outcomes),
    ]


def _bad(label: str, loop: ClosedLoop) -> list[Row]:
    outcomes = loop.record.all()
    wrong = sum(count for status, count in outcomes.others().items() if not 400 <= status < 500)
    return [
        at_most(f"{label}: not refused with 4xx", wrong, 0, "requests"),
        at_least(f"{label}: sent", len(outcomes.status), 1, "requests"),
    ]
