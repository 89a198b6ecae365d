"""Phases of traffic against a gateway that captures and shadows, and what was seen of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forcegate_client.dataset import Dataset
from forcegate_client.errors import TooManyRequests
from forcegate_client.http.client import Client
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.demo.gateway import running_gateway
from forcegate_wheel.progress import Progress
from forcegate_wheel.prometheus import Asked, running_prometheus
from forcegate_wheel.trainer import PROGRAM, TEACHER

__all__ = ["ALERTS", "Phase", "Row", "watch"]

Row = dict[str, Any]

ALERTS = ("ForcegateInputDrift", "ForcegateShadowError")
_BY_VERSION = ("version",)
_WINDOW = "20s"
_MODEL = "painn_ultra_tiny"
# What is asked at every look, by the name of the column; ALERTS follow.
_QUERIES = {
    "novel_share": "sum by (version) (rate(forcegate_novel_structures_total[{window}]))"
    " / sum by (version) (rate(forcegate_watched_structures_total[{window}]))",
    "shadow_ratio": "max by (version) (forcegate_shadow_force_rmse_ev_per_angstrom"
    " / forcegate_shadow_force_rmse_expected_ev_per_angstrom)",
    "shadow_rmse": "max by (version) (forcegate_shadow_force_rmse_ev_per_angstrom)",
    "shadow_window": "max by (version) (forcegate_shadow_window_structures)",
    "psi_novelty": 'max by (version) (forcegate_input_psi{{feature="max_novelty"}})',
    "psi_elements": 'max by (version) (forcegate_input_psi{{feature="elements"}})',
    "compared": "sum by (version) (forcegate_shadow_structures_total)",
    "captured": "sum by (version) (forcegate_captured_structures_total)",
}
_LOOK_S = 2.0
_PER_REQUEST = 4
# Between two requests: about twelve structures a second.
_PAUSE_S = 0.33


@dataclass(frozen=True)
class Phase:
    """Frames that clients ask these versions about, until each was asked so many structures.

    Frames come in a random order, each once before any comes again.
    """

    name: str
    frames: Dataset
    structures: int
    versions: tuple[str, ...]


def watch(
    repository: Path, folder: Path, phases: Sequence[Phase], settings: Mapping[str, str]
) -> list[Row]:
    """Serve ``repository``, play ``phases``, and write down what Prometheus sees every two seconds.

    ``settings`` are ``FORCEGATE_*`` variables; shadowing goes on beside, by a worker of its own.
    A row has the seconds since the start, the phase, the structures that were asked of each version
    so far, and a mapping by version for each figure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spool = folder / "shadow"
    wanted = {
        "FORCEGATE_TORCH_THREADS": "1",
        # Half a minute of a core for a model that is served for minutes.
        "FORCEGATE_DRIFT_WINDOW_S": "48",
        "FORCEGATE_DRIFT_MIN_STRUCTURES": "200",
        "FORCEGATE_SHADOW_FRACTION": "0.5",
        "FORCEGATE_SHADOW_DIR": str(spool),
        **settings,
    }
    rows: list[Row] = []
    with (
        _environment(wanted),
        running_gateway(repository, folder / "gateway.log") as url,
        _shadowing(spool, url, folder / "shadow.log"),
        running_prometheus(folder / "prometheus", url.removeprefix("http://")) as asked,
        Client(url) as client,
    ):
        if asked is None:
            print("no prometheus is installed: traffic goes, and no alert is evaluated", flush=True)
        clock = _Clock()
        for number, phase in enumerate(phases):
            _play(client, phase, number, clock, asked, rows)
    return rows


class _Clock:
    """Seconds and structures since the start of a watch."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.structures = 0

    def seconds(self) -> float:
        return time.monotonic() - self._began


def _play(
    client: Client, phase: Phase, number: int, clock: _Clock, asked: Asked | None, rows: list[Row]
) -> None:
    structures = structures_of(phase.frames)
    order = np.random.default_rng(number).permutation(len(phase.frames))
    progress = Progress(phase.structures, phase.versions)
    stop = threading.Event()

    def look() -> None:
        while asked is not None and not stop.wait(_LOOK_S):
            now = {"t": clock.seconds(), "asked": clock.structures, "phase": phase.name}
            rows.append(now | _seen(asked))
            progress.compared(rows[-1]["compared"])

    looking = threading.Thread(target=look)
    looking.start()
    at = 0
    try:
        while not progress.done(teacher=asked is not None):
            chosen = np.take(order, range(at, at + _PER_REQUEST), mode="wrap")
            try:
                for version in phase.versions:
                    client.predict(structures.select(chosen), _MODEL, version)
            except TooManyRequests as refused:
                # So a gateway speaks that stood still with the machine.
                print(f"{phase.name}: {refused}", flush=True)
                time.sleep(_LOOK_S)
                continue
            at += _PER_REQUEST
            clock.structures += _PER_REQUEST
            progress.asked(_PER_REQUEST, clock.seconds())
            time.sleep(_PAUSE_S)
    finally:
        stop.set()
        looking.join()
    print(f"{phase.name}: {at} structures, {json.dumps(rows[-1:])}", flush=True)


def _seen(asked: Asked) -> dict[str, dict[str, float]]:
    seen = {
        name: _by_version(asked, query.format(window=_WINDOW)) for name, query in _QUERIES.items()
    }
    for alert in ALERTS:
        # 1 while it is told, a half while it waits for its time.
        firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
        pending = f'0.5 * ALERTS{{alertname="{alert}",alertstate="pending"}}'
        seen[alert] = _by_version(asked, f"max by (version) ({firing} or {pending})")
    return seen


def _by_version(asked: Asked, expression: str) -> dict[str, float]:
    return {version: value for (version,), value in asked.values(expression, *_BY_VERSION).items()}


@contextmanager
def _shadowing(spool: Path, url: str, log: Path) -> Iterator[None]:
    """The teacher's opinion of what is served, while the block runs."""
    command = [
        PROGRAM,
        *("shadow", "--spool", str(spool), "--gateway", url, "--pause-s", "0.5", "--nice", "5"),
        *("--teacher", TEACHER),
    ]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
