"""A step of an ASE calculator that asks another process: over HTTP, and over ASE's own socket."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator
from ase.calculators.socketio import SocketIOCalculator
from ase.io import write

from forcegate_bench.load.traffic import WARM_UP
from forcegate_bench.machine.cores import Layout, on_core
from forcegate_bench.report.rows import Row, at_least, plain
from forcegate_bench.servers.gateway import start_gateway
from forcegate_bench.servers.peer_servers import peer_process
from forcegate_bench.subjects.structures import Shaken, structure
from forcegate_bench.subjects.subject import MOLECULE, Subject
from forcegate_client import RemoteCalculator

__all__ = ["Stepping", "ase_rows", "measure_ase_steps"]

_OURS = "forcegate's calculator over HTTP"
_THEIRS = "ASE's SocketIOCalculator"
# For each step.
_ENGINE_TIMEOUT_S = 120.0


class Stepping:
    """Steps of a calculator as dynamics has them: positions change, forces are asked for."""

    def __init__(self, calculator: Calculator) -> None:
        self._shaken = Shaken(MOLECULE)
        self._atoms = self._shaken.atoms.copy()
        self._atoms.calc = calculator

    def once(self) -> float:
        """Milliseconds of a step to positions that have not been seen before."""
        self._atoms.positions = self._shaken.next_atoms().positions
        started = time.perf_counter()
        self._atoms.get_forces()
        return 1e3 * (time.perf_counter() - started)

    def during(self, seconds: float) -> list[float]:
        """Milliseconds of every step, for so long; those of the first fifth do not count."""
        # The first one waits until the other side is there.
        self.once()
        times = []
        begin = time.perf_counter()
        while (now := time.perf_counter()) < begin + seconds:
            took = self.once()
            if now > begin + WARM_UP * seconds:
                times.append(took)
        return times


def measure_ase_steps(
    subject: Subject, layout: Layout, seconds: float, log: Path, turns: int
) -> Mapping[str, Sequence[Sequence[float]]]:
    """Milliseconds of every step of each turn, for so many seconds in all; both take turns.

    Raises:
        OSError: if ASE's engine does not answer.
    """
    steps: dict[str, list[Sequence[float]]] = {_OURS: [], _THEIRS: []}
    with (
        start_gateway(subject, layout, log) as gateway,
        _socket_calculator(subject, layout, log.with_suffix(".engine.log")) as theirs,
    ):
        ours = RemoteCalculator(gateway.address.url, model=subject.name)
        for _ in range(turns):
            for name, calculator in ((_OURS, ours), (_THEIRS, theirs)):
                with on_core(layout.traffic):
                    steps[name].append(Stepping(calculator).during(seconds / turns))
        ours.close()
    return steps


def ase_rows(steps: Mapping[str, Sequence[Sequence[float]]]) -> list[Row]:
    """Medians and 95 % of both, and what lies between them; medians over turns."""
    rows = []
    for percent in (50, 95):
        ours, theirs = (
            np.array([np.percentile(turn, percent) for turn in steps[name]])
            for name in (_OURS, _THEIRS)
        )
        label = f"a step of an ASE calculator, p{percent}"
        ratio = float(np.median(theirs / ours))
        rows += [
            at_least(f"{label}: {_THEIRS} over {_OURS}", ratio, 1.0),
            plain(f"{label}: {_OURS}", float(np.median(ours)), "ms"),
            plain(f"{label}: {_THEIRS}", float(np.median(theirs)), "ms"),
        ]
    return rows


@contextmanager
def _socket_calculator(subject: Subject, layout: Layout, log: Path) -> Iterator[Calculator]:
    atoms = log.with_suffix(".extxyz")
    write(atoms, structure(MOLECULE))
    # ASE puts its socket into /tmp, under this name.
    name = f"forcegate_bench_{time.time_ns()}"
    arguments = [str(subject.folder), name, str(atoms)]
    with ExitStack() as running:
        running.callback(atoms.unlink)

        def launch(*_: object, **__: object) -> subprocess.Popen[bytes]:
            python = Path(sys.executable)
            engine = peer_process(python, "ase_engine.py", arguments, layout.inference, log)
            return running.enter_context(engine)

        # It notices the death of an engine that it launched, and of no other.
        with SocketIOCalculator(
            unixsocket=name, timeout=_ENGINE_TIMEOUT_S, launch_client=launch
        ) as calculator:
            yield calculator
