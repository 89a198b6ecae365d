"""How much of the runtime's own rate is left when it is asked over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forcegate_bench.load.dialects import forcegate_msgpack
from forcegate_bench.load.pool import Pool
from forcegate_bench.load.record import waits
from forcegate_bench.load.traffic import Traffic, send
from forcegate_bench.machine.cores import Layout, layouts, on_core
from forcegate_bench.report.rows import Findings, Row, at_least, at_most, if_calm, plain
from forcegate_bench.servers.gateway import start_gateway
from forcegate_bench.subjects.in_process import Rates, measure_rates
from forcegate_bench.subjects.subject import MOLECULE, Subject

__all__ = ["Wanted", "measure_throughput"]

_CLIENTS, _LARGE = 32, 256
_OVER = "over the best batch in process"


@dataclass(frozen=True)
class Wanted:
    """The part of the rate in process that is asked for, on two cores, on one, in large batches.

    None: nothing is asked.
    """

    two_cores: float | None = None
    one_core: float | None = None
    large: float | None = None


@dataclass(frozen=True)
class _Measured:
    layout: Layout
    single: Traffic
    # One request in flight, and two.
    large: tuple[Traffic, Traffic]
    # Whether the answers were.
    right: list[Row]
    # Part of a core, by the name of the process.
    cpu: dict[str, float]


def measure_throughput(
    subject: Subject, cores: tuple[int, int], wanted: Wanted, seconds: float, log: Path
) -> Findings:
    """Every row of one model; ``seconds`` for each kind of traffic and for each baseline."""
    with on_core(cores[0]):
        before = measure_rates(subject.in_process, MOLECULE, seconds)
    both = [_ask(subject, layout, seconds, log) for layout in layouts(*cores)]
    with on_core(cores[0]):
        after = measure_rates(subject.in_process, MOLECULE, seconds)
    found = Findings()
    for measured, share in zip(both, (wanted.two_cores, wanted.one_core), strict=True):
        label = f"{subject.name}, {measured.layout.name}"
        rows = _timed(label, measured, (before, after), share, wanted.large)
        what = f"{label}: structures/s in process"
        found.add(if_calm(rows, what, before.best, after.best))
        found.rows += measured.right
        found.notes.append(measured.layout.remark)
    found.rows += before.rows(f"{subject.name} in process before")
    found.rows += after.rows(f"{subject.name} in process after")
    return found


def _ask(subject: Subject, layout: Layout, seconds: float, log: Path) -> _Measured:
    dialect = forcegate_msgpack(subject.name)
    single, large = Pool.make(dialect, MOLECULE), Pool.make(dialect, MOLECULE, copies=_LARGE)
    with start_gateway(subject, layout, log) as gateway:
        pids = gateway.pids
        many = send(gateway.address, single, _CLIENTS, seconds, layout.traffic, pids.values())
        alone, pair = (send(gateway.address, large, n, seconds, layout.traffic) for n in (1, 2))
        gateway.require_whole()
    right: list[Row] = []
    with on_core(layout.inference):
        for pool, traffic in ((single, many), (large, alone), (large, pair)):
            label = f"{subject.name}, {layout.name}, {_asking(traffic)}"
            right += [
                at_most(f"{label}: not answered with 200", traffic.failed, 0, "requests"),
                pool.agreement(traffic.samples, subject.in_process, label),
            ]
    cpu = {name: many.cpu[pid] for name, pid in pids.items()}
    return _Measured(layout, many, (alone, pair), right, cpu)


def _asking(traffic: Traffic) -> str:
    if traffic.copies == 1:
        return f"{traffic.clients} clients with a structure each"
    requests = "a request" if traffic.clients == 1 else f"{traffic.clients} requests"
    return f"{requests} of {traffic.copies} structures in flight"


def _timed(
    label: str,
    measured: _Measured,
    baselines: tuple[Rates, Rates],
    share: float | None,
    large_share: float | None,
) -> list[Row]:
    single = measured.single
    rate = sum(one.best for one in baselines) / 2
    every = [(single, share), *((traffic, large_share) for traffic in measured.large)]
    many = f"{label}, {_asking(single)}"
    rows = [
        *(
            _share(f"{label}, {_asking(traffic)}: {_OVER}", traffic.structures_per_s / rate, wanted)
            for traffic, wanted in every
        ),
        *(
            plain(f"{label}, {_asking(traffic)}", traffic.structures_per_s, "structures/s")
            for traffic, _ in every
        ),
        *waits(many, single.outcomes),
        plain(f"{many}: the load generator's part of its core", single.own_cpu, "×"),
    ]
    rows += [
        plain(f"{many}: part of a core taken by the {name}", cpu, "×")
        for name, cpu in measured.cpu.items()
    ]
    return rows


def _share(name: str, value: float, wanted: float | None) -> Row:
    return plain(name, value, "×") if wanted is None else at_least(name, value, wanted)
