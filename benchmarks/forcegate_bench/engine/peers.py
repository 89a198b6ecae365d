"""The student beside other people's networks, each in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from forcegate_bench.machine.process import measuring_environment
from forcegate_bench.paths import PEERS, ROOT
from forcegate_bench.report.rows import Findings, absent, at_least, plain, timed
from forcegate_bench.report.timing import Candidate, ratio, take_turns
from forcegate_bench.subjects.models import Model
from forcegate_bench.subjects.structures import Shaken, structure
from forcegate_service.machine import keeping_memory

__all__ = ["KNOWN_PEERS", "measure_peers"]

_STRUCTURES = ("aspirin (21 atoms)", "Ser-Phe-Val (50 atoms)", "cyclo-TPVLFVN (113 atoms)")
_LIMIT = 8.0


@dataclass(frozen=True)
class KnownPeer:
    """A network, and the variants in which its runner can evaluate it."""

    label: str
    runner: str
    variants: tuple[str, ...]


KNOWN_PEERS = {
    "schnetpack": KnownPeer(
        "SchNetPack PaiNN-128",
        "schnetpack_runner.py",
        ("eager", "TorchScript", "torch.compile"),
    ),
    "mace": KnownPeer("MACE 64x0e", "mace_runner.py", ("eager",)),
    "torchmd-net": KnownPeer("TorchMD-Net", "torchmd_net_runner.py", ("TensorNet-128", "ET-128")),
}


class PeerFailed(Exception):
    """A peer cannot be measured; the message tells why."""


@dataclass
class Conversation:
    """A runner in its environment, one request at a time."""

    peer: KnownPeer
    environment: Path
    process: subprocess.Popen[str] = field(init=False)
    answers: TextIO = field(init=False)

    def __post_init__(self) -> None:
        # The peer gets the memory settings that the student's process has.
        settings = {**keeping_memory(os.environ), **measuring_environment()}
        settings.pop("PYTHONPATH", None)
        runner = ROOT / "benchmarks/peers" / self.peer.runner
        reading, writing = os.pipe()
        self.answers = os.fdopen(reading, encoding="utf-8")
        self.process = subprocess.Popen(
            [self.environment / "bin" / "python", runner, str(writing)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env=settings,
            pass_fds=(writing,),
        )
        os.close(writing)

    def sample(self, variant: str, path: Path, seconds: float, fewest: int = 1) -> np.ndarray:
        """Milliseconds [calls, 2] of the peer's neighbour list and of energy and forces."""
        assert self.process.stdin is not None
        request = {
            "variant": variant,
            "structure": str(path),
            "seconds": seconds,
            "fewest": fewest,
        }
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerFailed("its process ended")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerFailed(answer["error"])
        return np.array(answer["milliseconds"])

    def close(self) -> None:
        """End the process."""
        self.process.communicate()
        self.answers.close()


@dataclass
class PeerCandidate:
    """One variant with one structure."""

    conversation: Conversation
    variant: str
    path: Path
    model_times: list[float] = field(default_factory=list)

    def sample(self, seconds: float) -> list[float]:
        """Milliseconds of every call, the peer's neighbour list included."""
        times = self.conversation.sample(self.variant, self.path, seconds)
        self.model_times += times[:, 1].tolist()
        whole: list[float] = times.sum(1).tolist()
        return whole


def measure_peers(seconds: float, known: tuple[str, ...] = ("schnetpack",)) -> Findings:
    """Three molecules, student and peers in turn, every one with its own neighbour list."""
    found = Findings()
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: _stored(name, Path(folder)) for name in _STRUCTURES}
        conversations: list[Conversation] = []
        running: list[tuple[str, Conversation, str]] = []
        for name in known:
            peer = KNOWN_PEERS[name]
            if not (PEERS / name).is_dir():
                found.notes.append(f"{peer.label} is absent: run `make bench-peers` first.")
                continue
            conversations.append(Conversation(peer, PEERS / name))
            running += _working(conversations[-1], paths, found)
        try:
            for name in _STRUCTURES:
                found.add(_compare(name, paths[name], running, seconds / len(_STRUCTURES)))
        finally:
            for conversation in conversations:
                conversation.close()
    return found


def _stored(name: str, folder: Path) -> Path:
    atoms = structure(name)
    path = folder / f"{len(atoms)}.npz"
    np.savez(path, atomic_numbers=atoms.numbers, positions=atoms.positions)
    return path


def _working(
    conversation: Conversation, paths: dict[str, Path], found: Findings
) -> list[tuple[str, Conversation, str]]:
    """The variants that answer; several calls of each structure, so that compilers are done."""
    working = []
    for variant in conversation.peer.variants:
        label = f"{conversation.peer.label}, {variant}"
        try:
            for _ in range(2):
                for path in paths.values():
                    conversation.sample(variant, path, 0.0, fewest=3)
        except PeerFailed as failure:
            found.notes.append(f"{label} is absent: {failure}.")
        else:
            working.append((label, conversation, variant))
    return working


def _compare(
    name: str, path: Path, running: list[tuple[str, Conversation, str]], seconds: float
) -> Findings:
    base = Model.preset("painn_base")
    peers = {label: PeerCandidate(talk, variant, path) for label, talk, variant in running}
    ours: dict[str, Candidate] = {"painn_base": base.evaluation(Shaken(name))}
    asked = f"{name}: fastest peer / painn_base, neighbour lists included"
    found = Findings()
    if not peers:
        found.rows.append(absent(asked, f"≥ {_LIMIT:g}"))
        return found
    times = take_turns({**ours, **peers}, seconds)
    n_atoms = len(structure(name))
    for label, timing in times.items():
        found.rows += timed(f"{label} with neighbour list, {name}", timing)
        found.draw("peers", label, n_atoms, timing)
    for label, candidate in peers.items():
        median = float(np.median(candidate.model_times))
        found.rows.append(plain(f"{label} without neighbour list, {name}", median, "ms"))
    fastest = min(peers, key=lambda label: times[label].median)
    gain = ratio(times[fastest], times["painn_base"])
    found.rows.append(at_least(asked, gain, _LIMIT))
    found.notes.append(f"{name}: the fastest peer is {fastest}.")
    return found
