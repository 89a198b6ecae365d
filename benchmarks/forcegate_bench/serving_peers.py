"""The gateway beside other ways to serve the same weights, every server on one core."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from forcegate_bench.ase_steps import ase_rows, measure_ase_steps
from forcegate_bench.calm import if_calm
from forcegate_bench.cores import Layout, layouts, on_core
from forcegate_bench.dialects import Dialect, forcegate_json, forcegate_msgpack
from forcegate_bench.gateway import start_gateway
from forcegate_bench.http1 import Address
from forcegate_bench.in_process import A_FEW, measure_rates
from forcegate_bench.peer_servers import PeerFailed, PeerServer, peer_servers, start_peer
from forcegate_bench.pool import Pool
from forcegate_bench.record import waits
from forcegate_bench.rows import Findings, Row, absent, at_least, at_most, plain
from forcegate_bench.subject import MOLECULE, Subject
from forcegate_bench.traffic import Traffic, send

__all__ = ["Columns", "comparisons", "measure_serving_peers"]

_CLIENTS = (1, 8, 32)
# What a server did, by the number of clients.
Columns = dict[int, Traffic]


def measure_serving_peers(
    scripted: Subject, shipped: Subject, cores: tuple[int, int], seconds: float, log: Path
) -> Findings:
    """Structures a second and waits with 1, 8 and 32 clients, ``seconds`` for each.

    Peers serve the TorchScript of ``scripted``, and so does the gateway once; ``shipped`` is the
    same model as it is usually served.
    """
    layout = layouts(*cores)[1]
    servers = _Servers(layout, seconds, log)
    with on_core(layout.inference):
        before = measure_rates(scripted.in_process, MOLECULE, seconds, A_FEW)
    servers.measure_gateway("forcegate, TorchScript", scripted)
    if shipped.compiled:
        servers.measure_gateway("forcegate as shipped", shipped)
    servers.measure_json(scripted)
    servers.measure_peers(scripted)
    rows = servers.measure_ase(scripted)
    with on_core(layout.inference):
        after = measure_rates(scripted.in_process, MOLECULE, seconds, A_FEW)
    rows += servers.rows()
    found = if_calm(rows, "structures/s in process", before.with_lists, after.with_lists)
    found.add(servers.found)
    found.rows += before.rows("in process, TorchScript, before")
    found.rows += after.rows("in process, TorchScript, after")
    found.notes.append(layout.remark)
    return found


def comparisons(label: str, ours: Columns, peers: dict[str, Columns]) -> list[Row]:
    """The server ``label`` over the best peer, in each column of the table."""
    rows: list[Row] = []
    for clients, mine in ours.items():
        where = f"{label}, {_of(clients)}"
        columns_of = (columns[clients] for columns in peers.values())
        theirs = [traffic for traffic in columns_of if traffic.outcomes.count()]
        asked = f"{where}: structures/s over the best peer's"
        if not theirs:
            rows.append(absent(asked, "≥ 1"))
            continue
        best = max(traffic.structures_per_s for traffic in theirs)
        rows.append(at_least(asked, mine.structures_per_s / best, 1.0))
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            shortest = min(traffic.outcomes.quantile_ms(share) for traffic in theirs)
            gain = shortest / mine.outcomes.quantile_ms(share)
            rows.append(at_least(f"{where}: the best peer's {name} over its own", gain, 1.0))
    return rows


def _of(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


@dataclass
class _Servers:
    """Measures one server after the other; ``found`` is what a busy machine does not spoil."""

    layout: Layout
    seconds: float
    log: Path
    found: Findings = field(default_factory=Findings)
    ours: dict[str, Columns] = field(default_factory=dict)
    in_json: dict[str, Columns] = field(default_factory=dict)
    peers: dict[str, Columns] = field(default_factory=dict)

    def measure_gateway(self, label: str, subject: Subject) -> None:
        """As forcegate's own clients ask it."""
        with start_gateway(subject, self.layout, self.log) as gateway:
            dialect = forcegate_msgpack(subject.name)
            self.ours[label] = self._columns(label, gateway.address, dialect, subject)

    def measure_json(self, subject: Subject) -> None:
        """The gateway as it is asked by hand; not compared with peers that take bytes."""
        label = "forcegate, TorchScript, JSON"
        with start_gateway(subject, self.layout, self.log) as gateway:
            dialect = forcegate_json(subject.name)
            self.in_json[label] = self._columns(label, gateway.address, dialect, subject)

    def measure_peers(self, subject: Subject) -> None:
        """All that are installed; of several ways to batch the best one."""
        windows: dict[str, PeerServer] = {}
        known = peer_servers()
        for peer in known:
            if peer.installed and peer.batching:
                windows[peer.label] = peer
            elif peer.installed:
                self._measure_peer(peer.label, peer, subject)
        for missing in sorted({peer.environment for peer in known if not peer.installed}):
            self.found.notes.append(f"{missing} is absent: run `make bench-peers` first.")
        rates = {label: self._short_rate(peer, subject) for label, peer in windows.items()}
        worked = {label: rate for label, rate in rates.items() if rate is not None}
        if worked:
            best = max(worked, key=lambda label: worked[label])
            self.found.notes.append(f"The best way of LitServe to batch: {best}.")
            self._measure_peer("LitServe, best batching", windows[best], subject)

    def measure_ase(self, subject: Subject) -> list[Row]:
        """Steps of ASE calculators, one at a time."""
        try:
            return ase_rows(measure_ase_steps(subject, self.layout, self.seconds, self.log))
        except OSError as failure:
            self.found.notes.append(f"ASE's SocketIOCalculator is absent: {failure}.")
            return []

    def rows(self) -> list[Row]:
        """What is asked, then every column of every server."""
        rows: list[Row] = []
        for label, columns in self.ours.items():
            rows += comparisons(label, columns, self.peers)
        for label, columns in {**self.ours, **self.in_json, **self.peers}.items():
            for clients, traffic in columns.items():
                where = f"{label}, {_of(clients)}"
                rows.append(plain(where, traffic.structures_per_s, "structures/s"))
                rows += waits(where, traffic.outcomes)
        return rows

    def _measure_peer(self, label: str, peer: PeerServer, subject: Subject) -> None:
        try:
            with start_peer(peer, subject, self.layout.inference, self.log) as address:
                self.peers[label] = self._columns(label, address, peer.dialect, subject)
        except (PeerFailed, OSError) as failure:
            self.found.notes.append(f"{label} is absent: {failure}.")

    def _short_rate(self, peer: PeerServer, subject: Subject) -> float | None:
        pool = Pool.make(peer.dialect, MOLECULE)
        try:
            with start_peer(peer, subject, self.layout.inference, self.log) as address:
                traffic = send(address, pool, _CLIENTS[-1], 0.5 * self.seconds, self.layout.traffic)
        except (PeerFailed, OSError) as failure:
            self.found.notes.append(f"{peer.label} is absent: {failure}.")
            return None
        rate = traffic.structures_per_s
        name = f"{peer.label}, {_of(_CLIENTS[-1])}, briefly"
        self.found.rows.append(plain(name, rate, "structures/s"))
        return rate

    def _columns(self, label: str, address: Address, dialect: Dialect, subject: Subject) -> Columns:
        pool = Pool.make(dialect, MOLECULE)
        columns = {}
        failed = 0
        for clients in _CLIENTS:
            traffic = send(address, pool, clients, self.seconds, self.layout.traffic)
            failed += traffic.failed
            columns[clients] = traffic
        samples = columns[_CLIENTS[-1]].samples
        with on_core(self.layout.traffic):
            right = pool.agreement(samples, subject.in_process, label)
        wrong = at_most(f"{label}: not answered with 200", failed, 0, "requests")
        self.found.rows += [wrong, right]
        return columns
