"""Ways to run one model on one device: eager, TorchScript, and either captured as a CUDA graph."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from forcegate_bench.subjects.models import Inputs

__all__ = ["Captured", "Evaluate", "steps_ms"]

Evaluate = Callable[..., tuple[torch.Tensor, ...]]
_CAPTURE_WARM_UP = 3


class Captured:
    """Replays the recorded work of one evaluation; shapes and edges stay those of the recording.

    In dynamics that is what a neighbour list with a skin gives between two of its updates.
    """

    def __init__(self, evaluate: Evaluate, inputs: Inputs) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_CAPTURE_WARM_UP):
                evaluate(*self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = evaluate(*self._inputs)

    def __call__(self, positions: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs at new positions; overwritten by the next call."""
        self._inputs[0].copy_(positions)
        self._graph.replay()
        return self._outputs


def steps_ms(
    evaluate: Evaluate, inputs: Inputs, positions: list[torch.Tensor], seconds: float
) -> list[float]:
    """Milliseconds of steps at one set of ``positions`` after the other.

    On a GPU the clock is the device's own: events before and after each step, read when all are
    done. One step is finished before the next begins, as dynamics needs its forces.
    """
    rest = inputs[1:]
    for k in range(5):
        evaluate(positions[k % len(positions)], *rest)
    times: list[float] = []
    end = time.perf_counter() + seconds
    step = 0
    while step < len(positions) or time.perf_counter() < end:
        given = positions[step % len(positions)]
        times.append(_one_step(evaluate, given, rest))
        step += 1
    return times


def _one_step(evaluate: Evaluate, positions: torch.Tensor, rest: tuple[torch.Tensor, ...]) -> float:
    if positions.device.type != "cuda":
        started = time.perf_counter()
        evaluate(positions, *rest)
        return 1e3 * (time.perf_counter() - started)
    before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    before.record()
    evaluate(positions, *rest)
    after.record()
    after.synchronize()
    return float(before.elapsed_time(after))
