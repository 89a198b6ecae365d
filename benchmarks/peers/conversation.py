"""What runs in a peer's environment: it is told what to time and answers with milliseconds.

One line of JSON is read per request, one written per answer. The process waits in between, so that
the other side can take turns with it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["Peer", "converse"]

_SHAKE = 0.01  # Å

# From (atomic numbers [N], positions [N, 3] in Å) to the peer's input, neighbour list included.
Prepare = Callable[[np.ndarray, np.ndarray], Any]
# From that input to energy (eV) and forces.
Evaluate = Callable[[Any], tuple[Any, Any]]
# Variants by name, each made when it is asked for: it may not work here.
Peer = Mapping[str, Callable[[], tuple[Prepare, Evaluate]]]


class _Case:
    """One variant with one structure."""

    def __init__(self, made: tuple[Prepare, Evaluate], structure: str) -> None:
        self._prepare, self._evaluate = made
        with np.load(structure, allow_pickle=False) as arrays:
            self._numbers, self._positions = arrays["atomic_numbers"], arrays["positions"]
        self._rng = np.random.default_rng(0)

    def once(self) -> tuple[float, float]:
        """Milliseconds of the neighbour list and of energy and forces, at fresh positions."""
        noise = self._rng.normal(scale=_SHAKE, size=self._positions.shape)
        positions = self._positions + noise
        started = time.perf_counter()
        given = self._prepare(self._numbers, positions)
        between = time.perf_counter()
        energy, forces = self._evaluate(given)
        ended = time.perf_counter()
        if forces.shape != positions.shape or not np.isfinite(float(energy)):
            raise ValueError(f"energy {energy} and forces of shape {forces.shape}")
        return 1e3 * (between - started), 1e3 * (ended - between)

    def sample(self, seconds: float, fewest: int) -> list[tuple[float, float]]:
        """As many calls as fit."""
        times = []
        end = time.perf_counter() + seconds
        while len(times) < fewest or time.perf_counter() < end:
            times.append(self.once())
        return times


def converse(peer: Peer) -> None:
    """Answer requests from standard input until it ends, on the descriptor that is named first.

    Libraries write to standard output what they like, from their import on.
    """
    answers = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    made: dict[str, Any] = {}
    cases: dict[tuple[str, str], _Case] = {}
    for line in sys.stdin:
        request = json.loads(line)
        variant, key = request["variant"], (request["variant"], request["structure"])
        try:
            if variant not in made:
                made[variant] = peer[variant]()
            if key not in cases:
                cases[key] = _Case(made[variant], request["structure"])
            answer: dict[str, Any] = {
                "milliseconds": cases[key].sample(request["seconds"], request["fewest"])
            }
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).strip()[:200]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
