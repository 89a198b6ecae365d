"""One step of dynamics after another, alone and beside a campaign that never lets the queue end."""

from __future__ import annotations

from pathlib import Path

from forcegate_bench.load.campaign import running_campaign
from forcegate_bench.load.dialects import forcegate_msgpack
from forcegate_bench.load.pool import Pool
from forcegate_bench.load.record import waits
from forcegate_bench.load.traffic import Traffic, send
from forcegate_bench.machine.cores import Layout, layouts, on_core
from forcegate_bench.report.rows import Findings, Row, at_most, if_calm, plain
from forcegate_bench.servers.gateway import RunningGateway, start_gateway
from forcegate_bench.subjects.in_process import A_FEW, measure_rates
from forcegate_bench.subjects.subject import MOLECULE, Subject

__all__ = ["measure_fairness"]

_DYNAMICS_HOST = "127.0.0.1"
# All of 127.0.0.0/8 is loopback, so that a client can have another address.
_CAMPAIGN_HOSTS = {"the same address": "127.0.0.1", "another address": "127.0.0.2"}


def measure_fairness(
    subject: Subject,
    cores: tuple[int, int],
    structures: int,
    in_flight: int,
    target_s: float,
    seconds: float,
    log: Path,
) -> Findings:
    """Waits of single structures beside requests of so many ``structures``.

    ``target_s`` is the gateway's FORCEGATE_BATCH_TARGET_S; ``seconds`` each stretch takes.
    """
    layout = layouts(*cores)[1]
    settings = {
        "FORCEGATE_BATCH_TARGET_S": str(target_s),
        "FORCEGATE_MAX_STRUCTURES": str(structures),
        # The limits of a request are not what is measured.
        "FORCEGATE_MAX_ATOMS": str(64 * structures),
    }
    pool = Pool.make(forcegate_msgpack(subject.name), MOLECULE)
    with on_core(layout.inference):
        before = measure_rates(subject.in_process, MOLECULE, 0.5 * seconds, A_FEW)
    with start_gateway(subject, layout, log, settings) as gateway:
        quiet = _steps(gateway, pool, seconds, layout)
        beside = {}
        for where, host in _CAMPAIGN_HOSTS.items():
            running = running_campaign(
                gateway.address, subject.name, structures, in_flight, host, layout.traffic
            )
            with running as campaign:
                steps = _steps(gateway, pool, seconds, layout)
            beside[where] = steps, campaign
        again = _steps(gateway, pool, seconds, layout)
        gateway.require_whole()
    with on_core(layout.inference):
        after = measure_rates(subject.in_process, MOLECULE, 0.5 * seconds, A_FEW)
        agreement = pool.agreement(quiet.samples, subject.in_process, f"{subject.name}, quiet")
    limit_ms = 2e3 * target_s
    timed = _waits(f"{subject.name}, quiet", quiet)
    timed += _waits(f"{subject.name}, quiet again at the end", again)
    found = Findings([agreement])
    for where, (steps, campaign) in beside.items():
        label = f"{subject.name}, beside a campaign from {where}"
        added = steps.outcomes.quantile_ms(0.95) - quiet.outcomes.quantile_ms(0.95)
        timed += [
            at_most(f"{label}: p95 of a step − quiet p95", added, limit_ms, "ms"),
            *_waits(label, steps),
            plain(f"{label}: what it gets", campaign.structures_per_s, "structures/s"),
        ]
        found.rows += [
            at_most(f"{label}: steps not answered with 200", steps.failed, 0, "requests"),
            at_most(
                f"{label}: its requests with neither 200 nor 429",
                campaign.result["others"],
                0,
                "requests",
            ),
        ]
    what = f"{subject.name}: structures/s in process"
    found.add(if_calm(timed, what, before.best, after.best))
    found.rows += before.rows(f"{subject.name} in process before")
    found.rows += after.rows(f"{subject.name} in process after")
    found.notes += [
        layout.remark,
        f"The campaign keeps {in_flight} requests of {structures} structures in flight, and counts "
        "those that were answered as a whole.",
    ]
    return found


def _steps(gateway: RunningGateway, pool: Pool, seconds: float, layout: Layout) -> Traffic:
    return send(gateway.address, pool, 1, seconds, layout.traffic, from_host=_DYNAMICS_HOST)


def _waits(label: str, steps: Traffic) -> list[Row]:
    rate = plain(f"{label}: steps", steps.outcomes.per_second(), "1/s")
    return [*waits(f"{label}: a step", steps.outcomes), rate]
