"""The gateway beside other ways to serve the same weights, every server on one core.

All servers are up at once, and one at a time is asked, in turns: when the machine is slow for a
while, it is so for all of them.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from forcegate_bench.load.dialects import Dialect, forcegate_json, forcegate_msgpack
from forcegate_bench.load.http1 import Address
from forcegate_bench.load.pool import Pool
from forcegate_bench.load.traffic import Traffic, send
from forcegate_bench.machine.cores import Layout, layouts, on_core
from forcegate_bench.report.rows import Findings, Row, absent, at_least, at_most, plain
from forcegate_bench.servers.gateway import start_gateway
from forcegate_bench.servers.peer_servers import PeerFailed, PeerServer, peer_servers, start_peer
from forcegate_bench.serving.ase_steps import ase_rows, measure_ase_steps
from forcegate_bench.subjects.in_process import A_FEW, measure_rates
from forcegate_bench.subjects.subject import MOLECULE, Subject

__all__ = ["Columns", "comparisons", "measure_serving_peers"]

_CLIENTS = (1, 8, 32)
_TURNS = 5
_WAITS = (("p50", 0.5), ("p95", 0.95))
# What a server did, by the number of clients, turn by turn.
Columns = dict[int, list[Traffic]]


def measure_serving_peers(
    scripted: Subject, shipped: Subject, cores: tuple[int, int], seconds: float, log: Path
) -> Findings:
    """Structures a second and waits with 1, 8 and 32 clients, ``seconds`` for each in all.

    Peers serve the TorchScript of ``scripted``, and so does the gateway once; ``shipped`` is the
    same model as it is usually served.
    """
    layout = layouts(*cores)[1]
    found = Findings()
    with on_core(layout.inference):
        before = measure_rates(scripted.in_process, MOLECULE, seconds, A_FEW)
    peers = _peers(scripted, layout, seconds, log, found)
    with ExitStack() as running:
        servers = _Servers(running, layout, log)
        servers.start_gateways(scripted, shipped)
        servers.start_peers(peers, scripted, found)
        for _ in range(_TURNS):
            for clients in _CLIENTS:
                for contender in servers.contenders:
                    contender.ask(clients, seconds / _TURNS, layout.traffic)
    for contender in servers.contenders:
        found.rows += contender.checks(scripted, layout.traffic)
    rows = _ase(scripted, layout, seconds, log, found)
    with on_core(layout.inference):
        after = measure_rates(scripted.in_process, MOLECULE, seconds, A_FEW)
    found.rows = rows + _table(servers.contenders) + found.rows
    found.rows += before.rows("in process, TorchScript, before")
    found.rows += after.rows("in process, TorchScript, after")
    found.notes += [
        layout.remark,
        f"{_TURNS} turns; a ratio is the median of the turns' own, and so is a rate or a wait.",
    ]
    return found


def comparisons(label: str, ours: Columns, peers: dict[str, Columns]) -> list[Row]:
    """The server ``label`` over the best peer, in each column of the table.

    Which peer is the best is decided over all turns, by the median.
    """
    rows: list[Row] = []
    for clients, mine in ours.items():
        where = f"{label}, {_of(clients)}"
        asked = f"{where}: structures/s over the best peer's"
        theirs = [
            columns[clients]
            for columns in peers.values()
            if all(traffic.outcomes.count() for traffic in columns[clients])
        ]
        if not theirs:
            rows.append(absent(asked, "≥ 1"))
            continue
        best = max(theirs, key=_rate)
        rates = [one.structures_per_s / its.structures_per_s for one, its in _turns(mine, best)]
        rows.append(at_least(asked, median(rates), 1.0))
        for name, share in _WAITS:
            waits = [_wait(turns, share) for turns in theirs]
            shortest = theirs[waits.index(min(waits))]
            gains = [
                its.outcomes.quantile_ms(share) / one.outcomes.quantile_ms(share)
                for one, its in _turns(mine, shortest)
            ]
            what = f"{where}: the best peer's {name} over its own"
            rows.append(at_least(what, median(gains), 1.0))
    return rows


@dataclass
class _Contender:
    """A server that is up, and what it did; ``kind`` says what it is compared with."""

    label: str
    kind: str
    address: Address
    dialect: Dialect
    columns: Columns = field(default_factory=lambda: {clients: [] for clients in _CLIENTS})

    def __post_init__(self) -> None:
        self.pool = Pool.make(self.dialect, MOLECULE)

    def ask(self, clients: int, seconds: float, core: int) -> None:
        """One turn."""
        self.columns[clients].append(send(self.address, self.pool, clients, seconds, core))

    def checks(self, subject: Subject, core: int) -> list[Row]:
        """Whether it answered, and rightly."""
        turns = [traffic for column in self.columns.values() for traffic in column]
        failed = sum(traffic.failed for traffic in turns)
        samples = [sample for traffic in self.columns[_CLIENTS[-1]] for sample in traffic.samples]
        with on_core(core):
            right = self.pool.agreement(samples, subject.in_process, self.label)
        return [at_most(f"{self.label}: not answered with 200", failed, 0, "requests"), right]


@dataclass
class _Servers:
    """Starts one server after the other; all stay up."""

    running: ExitStack
    layout: Layout
    log: Path
    contenders: list[_Contender] = field(default_factory=list)

    def start_gateways(self, scripted: Subject, shipped: Subject) -> None:
        """As forcegate's own clients ask it, and as it is asked by hand.

        What is asked in JSON is not compared with peers that take bytes.
        """
        address = self._gateway(scripted)
        self._add("forcegate, TorchScript", "ours", address, forcegate_msgpack(scripted.name))
        self._add("forcegate, TorchScript, JSON", "JSON", address, forcegate_json(scripted.name))
        if shipped.engine:
            address = self._gateway(shipped)
            self._add("forcegate as shipped", "ours", address, forcegate_msgpack(shipped.name))

    def start_peers(self, peers: dict[str, PeerServer], subject: Subject, found: Findings) -> None:
        """Those that come up."""
        for label, peer in peers.items():
            try:
                server = start_peer(peer, subject, self.layout.inference, self._own_log())
                address = self.running.enter_context(server)
            except (PeerFailed, OSError) as failure:
                found.notes.append(f"{label} is absent: {failure}.")
            else:
                self._add(label, "peer", address, peer.dialect)

    def _gateway(self, subject: Subject) -> Address:
        gateway = start_gateway(subject, self.layout, self._own_log())
        return self.running.enter_context(gateway).address

    def _add(self, label: str, kind: str, address: Address, dialect: Dialect) -> None:
        self.contenders.append(_Contender(label, kind, address, dialect))

    def _own_log(self) -> Path:
        return self.log.with_suffix(f".{len(self.contenders)}.log")


def _peers(
    subject: Subject, layout: Layout, seconds: float, log: Path, found: Findings
) -> dict[str, PeerServer]:
    """All that are installed; of several ways to batch the one that is best with many clients."""
    known = peer_servers()
    for missing in sorted({peer.environment for peer in known if not peer.installed}):
        found.notes.append(f"{missing} is absent: run `make bench-peers` first.")
    installed = [peer for peer in known if peer.installed]
    chosen = {peer.label: peer for peer in installed if not peer.batching}
    rates: dict[str, float] = {}
    windows = {peer.label: peer for peer in installed if peer.batching}
    for label, peer in windows.items():
        try:
            with start_peer(peer, subject, layout.inference, log) as address:
                pool = Pool.make(peer.dialect, MOLECULE)
                traffic = send(address, pool, _CLIENTS[-1], 0.3 * seconds, layout.traffic)
        except (PeerFailed, OSError) as failure:
            found.notes.append(f"{label} is absent: {failure}.")
            continue
        rates[label] = traffic.structures_per_s
        name = f"{label}, {_of(_CLIENTS[-1])}, briefly"
        found.rows.append(plain(name, traffic.structures_per_s, "structures/s"))
    if rates:
        best = max(rates, key=lambda label: rates[label])
        found.notes.append(f"The best way of LitServe to batch: {best}.")
        chosen["LitServe, best batching"] = windows[best]
    return chosen


def _ase(subject: Subject, layout: Layout, seconds: float, log: Path, found: Findings) -> list[Row]:
    """Steps of ASE calculators, one at a time."""
    try:
        return ase_rows(measure_ase_steps(subject, layout, seconds, log, _TURNS))
    except OSError as failure:
        found.notes.append(f"ASE's SocketIOCalculator is absent: {failure}.")
        return []


def _table(contenders: list[_Contender]) -> list[Row]:
    """What is asked, then every column of every server."""
    peers = {one.label: one.columns for one in contenders if one.kind == "peer"}
    rows: list[Row] = []
    for contender in contenders:
        if contender.kind == "ours":
            rows += comparisons(contender.label, contender.columns, peers)
    for contender in contenders:
        for clients, turns in contender.columns.items():
            where = f"{contender.label}, {_of(clients)}"
            rows.append(plain(where, _rate(turns), "structures/s"))
            if all(traffic.outcomes.count() for traffic in turns):
                for name, share in _WAITS:
                    rows.append(plain(f"{where}, {name}", _wait(turns, share), "ms"))
    return rows


def _turns(mine: list[Traffic], theirs: list[Traffic]) -> list[tuple[Traffic, Traffic]]:
    return list(zip(mine, theirs, strict=True))


def _rate(turns: list[Traffic]) -> float:
    return median(traffic.structures_per_s for traffic in turns)


def _wait(turns: list[Traffic], share: float) -> float:
    return median(traffic.outcomes.quantile_ms(share) for traffic in turns)


def _of(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"
