"""What is looked at while a run moves: whether it left physics, and how its energy drifts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from forcegate_client.checks.plausible import implausible
from forcegate_client.errors import ForcegateError, InvalidStructure
from forcegate_client.md.blow_up import HOTTEST_START_K, EnergyJumps, temperature_limit_k
from forcegate_client.md.drift import MIN_BLOCKS, Drift, energy_drift
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.survey import look_at
from forcegate_service.dynamics.run import Run
from forcegate_service.queue.version import ServedVersion

__all__ = ["Guard"]

# What a run without a thermostat may warm up to is measured by.
_ROOM_K = 300.0
# Energies that are kept of a run; of a longer one every second, fourth, … is.
_MOST_SAMPLES = 4096


@dataclass(frozen=True)
class _Answered:
    energy: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    forces: np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Guard:
    """Watches one run, from its begin in this stream on."""

    def __init__(self, run: Run, version: ServedVersion) -> None:
        self._run, self._version = run, version
        request = run.request
        expected = request.temperature_k if request.method == "langevin" else _ROOM_K
        dof = max(run.n_dof, 1)
        start_k = min(run.temperature_k, HOTTEST_START_K)
        self._hottest_k = temperature_limit_k(max(expected, start_k), dof)
        self._jumps = EnergyJumps(len(run.numbers)) if request.method == "nve" else None
        self._times_ps: list[float] = []
        self._totals_ev: list[float] = []
        self._every = 1
        self._looks = 0
        self._heat = 0.0

    def look(self) -> None:
        """At the end of a chunk.

        Raises:
            ForcegateError: if the run is where no run can be.
        """
        run, version = self._run, self._version
        found = implausible(
            _Answered(np.array([run.state.energy]), run.state.forces),
            run.structures,
            version.atoms_alone,
            version.card.limits,
        )
        if found:
            found[0].structure = run.index
            raise found[0]
        if run.request.task == "dynamics":
            self._look_at_heat(run.temperature_k)

    def remarks(self, sigma: np.ndarray[tuple[int], np.dtype[np.float64]] | None) -> list[str]:
        """In a frame: the guards of the request that it is beyond, and what a prediction would
        remark on.

        Raises:
            ForcegateError: if a prediction of it would be refused.
        """
        run, request = self._run, self._run.request
        found = _contacts(run, self._version.card)
        if request.max_novelty is not None and run.state.novelty > request.max_novelty:
            found.append(f"novelty {run.state.novelty:.3g} above {request.max_novelty:g}")
        limit = request.max_force_uncertainty
        if limit is not None and sigma is not None and (worst := float(sigma.max())) > limit:
            found.append(f"force uncertainty {worst:.3g} eV/Å above {limit:g}")
        return found

    def beyond(self, remarks: list[str]) -> bool:
        """Whether a guard that stops is among ``remarks``."""
        told = ("novelty ", "force uncertainty ")
        return self._run.request.on_guard == "stop" and any(r.startswith(told) for r in remarks)

    @property
    def drift(self) -> Drift | None:
        """Of the total energy of an NVE run, if it is known."""
        if self._jumps is None or len(self._times_ps) < MIN_BLOCKS:
            return None
        return energy_drift(self._times_ps, self._totals_ev, len(self._run.numbers))

    @property
    def mean_temperature_k(self) -> float | None:
        """Of the ends of all chunks."""
        return self._heat / self._looks if self._looks else None

    def _look_at_heat(self, temperature_k: float) -> None:
        run = self._run
        self._looks += 1
        self._heat += temperature_k
        if not math.isfinite(temperature_k) or temperature_k > self._hottest_k:
            raise self._blew_up(
                f"a temperature of {temperature_k:.4g} K at step {run.state.step}",
                f"at most {self._hottest_k:.4g} K",
            )
        if self._jumps is None:
            return
        total = run.state.energy + run.kinetic_ev
        if (jump := self._jumps.jump_ev(total)) is not None:
            raise self._blew_up(
                f"a total energy that jumped by {jump:.4g} eV before step {run.state.step}",
                "an energy that is conserved",
            )
        self._sample(run.state.step * run.request.timestep_fs * 1e-3, total)

    def _sample(self, time_ps: float, total_ev: float) -> None:
        if self._looks % self._every:
            return
        self._times_ps.append(time_ps)
        self._totals_ev.append(total_ev)
        if len(self._times_ps) > _MOST_SAMPLES:
            self._times_ps, self._totals_ev = self._times_ps[::2], self._totals_ev[::2]
            self._every *= 2

    def _blew_up(self, received: str, expected: str) -> ForcegateError:
        return InvalidStructure(
            f"a run with {received}",
            expected=expected,
            action="go on from an earlier frame with a shorter timestep, or relax the structure "
            "first; other structures are not affected",
            code="dynamics_blew_up",
            structure=self._run.index,
        )


def _contacts(run: Run, card: ModelCard) -> list[str]:
    first = run.structures
    batch = StructureBatch.from_arrays(
        *(first.n_atoms, run.numbers, run.state.positions, first.cells, first.pbc)
    )
    _, near = look_at(batch, card)
    if near.refused:
        raise near.refused[0].error(run.index)
    return [near.remarked[0].remark] if near.remarked else []
