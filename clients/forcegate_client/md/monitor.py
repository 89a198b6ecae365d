"""Watch a molecular-dynamics run: energies, temperature, live drift, and when it goes wrong."""

from __future__ import annotations

import math
import weakref
from array import array
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from ase import units

from forcegate_client.errors import ForcegateError
from forcegate_client.http.calculator import RemoteCalculator
from forcegate_client.md.blow_up import (
    HOTTEST_START_K,
    BlowUp,
    DynamicsBlewUp,
    EnergyJumps,
    blow_up_of,
    temperature_limit_k,
)
from forcegate_client.md.bonds import Pair, bond_changes, bonded_pairs
from forcegate_client.md.drift import MIN_BLOCKS, Drift, energy_drift
from forcegate_client.md.ensemble import (
    Ensemble,
    conserved_energy,
    driven_degrees_of_freedom,
    ensemble_of,
    target_temperature_k,
)
from forcegate_client.md.progress import RunProgress
from forcegate_client.md.reporter import REPORT_EVERY_S, RunFacts, RunReporter
from forcegate_client.md.velocities import degrees_of_freedom, temperature_of

if TYPE_CHECKING:
    # It brings ASE's optimizers, and they scipy, which whoever has a dynamics has loaded already.
    from ase.md.md import MolecularDynamics

__all__ = ["DynamicsBlewUp", "MDMonitor", "MDReport", "MDSamples", "Sample"]

Float = npt.NDArray[np.float64]


class Sample(NamedTuple):
    """One moment of a run."""

    time_ps: float
    potential_ev: float
    kinetic_ev: float
    temperature_k: float

    @property
    def total_ev(self) -> float:
        """Potential plus kinetic energy."""
        return self.potential_ev + self.kinetic_ev


@dataclass(frozen=True)
class MDSamples:
    """Time series of a run, each [S]: ps, eV and K."""

    times_ps: Float
    potential_ev: Float
    kinetic_ev: Float
    temperature_k: Float

    @property
    def total_ev(self) -> Float:
        """Potential plus kinetic energy [S]."""
        return self.potential_ev + self.kinetic_ev


@dataclass(frozen=True)
class MDReport:
    """What an ``MDMonitor`` saw. ``drift`` is that of the conserved energy, if there is one."""

    n_atoms: int
    n_dof: int
    duration_ps: float
    mean_temperature_k: float
    drift: Drift | None
    bonds_broken: frozenset[tuple[int, int]]
    bonds_formed: frozenset[tuple[int, int]]
    trouble: str | None


class MDMonitor:
    """An observer for ``dynamics.attach(monitor, interval=…)``.

    At each call it records time, energies and temperature, and raises ``DynamicsBlewUp`` (or with
    ``stop=False`` only notes ``trouble``) when a number is not finite, the temperature explodes,
    a conserved energy jumps, or a bond is torn to more than ``stretch_limit`` times its covalent
    radii. The temperature limit follows from ``temperature_K``, by default the thermostat's or
    the first temperature seen, which must be below 10,000 K. ``n_dof`` defaults to the present
    structure's ``degrees_of_freedom``, and under thermostats that push each atom by itself
    (Langevin) to all that these drive. ``bonds`` are the ``bonded_pairs`` that should hold, by
    default the present ones; give those from before an equilibration. Energies are those that the
    calculator has already computed for the step: watching costs no evaluation.

    If the calculator is a ``RemoteCalculator``, its server is told how the run goes, in the
    background, about once a minute, at a blow-up and at the end (``close``, or leaving a ``with``
    block, or the end of the script): drift, temperature and length, never a structure. Nothing
    that happens there delays or ends the run. ``report=False`` switches it off;
    ``report=calculator`` names one that is hidden inside another.
    """

    def __init__(
        self,
        dynamics: MolecularDynamics,
        *,
        temperature_K: float | None = None,
        n_dof: int | None = None,
        bonds: frozenset[tuple[int, int]] | None = None,
        stretch_limit: float = 2.0,
        check_bonds_every: int = 10,
        stop: bool = True,
        report: bool | RemoteCalculator = True,
        report_every_s: float = REPORT_EVERY_S,
    ) -> None:
        atoms = dynamics.atoms
        self.dynamics = dynamics
        self.ensemble: Ensemble = ensemble_of(dynamics)
        if n_dof is None:
            n_dof = driven_degrees_of_freedom(dynamics)
        self.n_dof = degrees_of_freedom(atoms) if n_dof is None else n_dof
        self.trouble: str | None = None
        self._stretch_limit = stretch_limit
        self._check_bonds_every = check_bonds_every
        self._stop = stop
        self._conserved = conserved_energy(dynamics)
        self._jumps = EnergyJumps(len(atoms))
        self._expected_k = temperature_K
        self._temperature_limit_k: float | None = None
        self._start_bonds = bonded_pairs(atoms) if bonds is None else bonds
        # Four doubles a sample: a run of days has 10⁷ of them.
        self._values = array("d")
        self._broken: set[tuple[int, int]] = set()
        self._formed: set[tuple[int, int]] = set()
        self._progress = RunProgress(len(atoms))
        self._facts = RunFacts(
            ensemble=self.ensemble,
            n_dof=self.n_dof,
            conserves=self._conserved is not None,
            timestep_fs=dynamics.dt / units.fs,
            target_temperature_k=temperature_K,
        )
        self._last_step: int | None = None
        self._reporter = self._new_reporter(report, report_every_s)

    def __call__(self) -> None:
        """Record the present step.

        Raises:
            DynamicsBlewUp: if the run should stop.
        """
        atoms = self.dynamics.atoms
        time_ps = self.dynamics.get_time() / (1000.0 * units.fs)
        row = Sample(
            time_ps=time_ps,
            potential_ev=float(atoms.get_potential_energy()),
            kinetic_ev=float(atoms.get_kinetic_energy()),
            temperature_k=temperature_of(atoms, self.n_dof),
        )
        if not (all(map(math.isfinite, row)) and np.isfinite(atoms.get_forces()).all()):
            what = "an energy, velocity or force that is not finite"
            return self._report_trouble("not_finite", what, time_ps)
        self._values.extend(row)
        conserved_ev = self._conserved_ev(row)
        self._progress.add(time_ps, conserved_ev, row.temperature_k)
        self._check_temperature(row)
        self._check_energy(conserved_ev, time_ps)
        if self.n_samples % self._check_bonds_every == 0:
            self._check_bonds(time_ps)
        if self._reporter is not None:
            self._look_at_dynamics()
            self._reporter.sampled(end_of_run=self._is_end_of_run())
        return None

    def ended_by(self, error: Exception) -> None:
        """Take note of what ended the run, such as a structure that the server refuses."""
        self.trouble = self.trouble or str(error)
        reason = blow_up_of(error)
        if reason is not None:
            self._blew_up(reason, stopped=True)

    def close(self) -> None:
        """The run is over: tell the server, for which it waits two seconds at most."""
        if self._reporter is not None:
            self._reporter.finish()

    def __enter__(self) -> MDMonitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, ForcegateError):
            self.ended_by(error)
        self.close()

    def take_up(
        self,
        earlier: MDSamples,
        broken: frozenset[Pair] = frozenset(),
        formed: frozenset[Pair] = frozenset(),
    ) -> None:
        """Begin with what was seen of the run before it was interrupted."""
        for row in map(Sample, *(getattr(earlier, name).tolist() for name in vars(earlier))):
            self._values.extend(row)
            energy = row.total_ev if self.ensemble is Ensemble.NVE else math.nan
            self._progress.add(row.time_ps, energy, row.temperature_k)
        self._broken |= broken
        self._formed |= formed

    @property
    def bonds_changed(self) -> tuple[frozenset[Pair], frozenset[Pair]]:
        """The bonds that broke and those that formed, so far."""
        return frozenset(self._broken), frozenset(self._formed)

    @property
    def samples(self) -> MDSamples:
        """All that was recorded."""
        table = np.array(self._values, dtype=np.float64).reshape(-1, 4)
        return MDSamples(*(np.ascontiguousarray(column) for column in table.T))

    @property
    def n_samples(self) -> int:
        """How many samples were recorded."""
        return len(self._values) // 4

    @property
    def last(self) -> Sample:
        """The latest sample; all NaN before the first call."""
        return Sample(*(self._values[-4:] or [math.nan] * 4))

    def drift(self) -> Drift | None:
        """Drift of the conserved energy so far, once there are enough samples to tell.

        That is the total energy at constant energy. Of what a Nosé–Hoover thermostat conserves
        only block means are kept, so this takes 1 ps and 20 samples. ``None`` for dynamics that
        conserve nothing, such as Langevin's.
        """
        if self.ensemble is not Ensemble.NVE:
            return None if self._conserved is None else self._progress.drift()
        if self.n_samples < MIN_BLOCKS:
            return None
        samples = self.samples
        return energy_drift(samples.times_ps, samples.total_ev, len(self.dynamics.atoms))

    def report(self) -> MDReport:
        """Summary of the run so far."""
        samples = self.samples
        seen = len(samples.times_ps) > 0
        return MDReport(
            n_atoms=len(self.dynamics.atoms),
            n_dof=self.n_dof,
            duration_ps=float(np.ptp(samples.times_ps)) if seen else 0.0,
            mean_temperature_k=float(samples.temperature_k.mean()) if seen else math.nan,
            drift=self.drift(),
            bonds_broken=frozenset(self._broken),
            bonds_formed=frozenset(self._formed),
            trouble=self.trouble,
        )

    def _check_temperature(self, row: Sample) -> None:
        if self._temperature_limit_k is None:
            self._temperature_limit_k = temperature_limit_k(self._expect_k(row), self.n_dof)
            if self._expected_k is None and row.temperature_k > HOTTEST_START_K:
                what = f"a start at {row.temperature_k:.0f} K, above {HOTTEST_START_K:.0f} K,"
                return self._report_trouble("temperature", what, row.time_ps)
        limit = self._temperature_limit_k
        if row.temperature_k > limit:
            what = f"{row.temperature_k:.0f} K, above the limit of {limit:.0f} K"
            self._report_trouble("temperature", what, row.time_ps)
        return None

    def _conserved_ev(self, row: Sample) -> float:
        if self.ensemble is Ensemble.NVE:
            return row.total_ev
        return math.nan if self._conserved is None else self._conserved()

    def _expect_k(self, first: Sample) -> float:
        if self._expected_k is not None:
            return self._expected_k
        seen = min(first.temperature_k, HOTTEST_START_K)
        return max(seen, target_temperature_k(self.dynamics) or 0.0)

    def _check_energy(self, conserved_ev: float, time_ps: float) -> None:
        jump = self._jumps.jump_ev(conserved_ev)
        if jump is not None:
            what = f"the conserved energy jumped by {jump:+.2f} eV from one sample to the next"
            self._report_trouble("energy", what, time_ps)

    def _check_bonds(self, time_ps: float) -> None:
        changes = bond_changes(self._start_bonds, self.dynamics.atoms, reach=self._stretch_limit)
        self._broken |= changes.broken
        self._formed |= changes.formed
        if changes.longest_ratio > self._stretch_limit:
            pairs = ", ".join(f"{i}–{j}" for i, j in sorted(changes.broken))
            what = f"the bonds {pairs} torn beyond {self._stretch_limit} × their covalent radii"
            self._report_trouble("bond", what, time_ps)

    def _new_reporter(self, report: bool | RemoteCalculator, every_s: float) -> RunReporter | None:
        calculator = self.dynamics.atoms.calc if report is True else report
        watched = getattr(self.dynamics, "watched_by_server", False)
        if watched or not isinstance(calculator, RemoteCalculator):
            return None
        reporter = RunReporter(calculator, self._progress, self._facts, every_s=every_s)
        # A monitor that is forgotten was at its end. The reporter itself sees to the end of the
        # interpreter.
        weakref.finalize(self, reporter.finish, 0.0).atexit = False
        return reporter

    def _look_at_dynamics(self) -> None:
        self._facts.timestep_fs = self.dynamics.dt / units.fs
        if self._expected_k is None:
            self._facts.target_temperature_k = target_temperature_k(self.dynamics)

    def _is_end_of_run(self) -> bool:
        """Whether this call of ``run`` ends before there is another sample."""
        step, before = self.dynamics.nsteps, self._last_step
        self._last_step = step
        last = getattr(self.dynamics, "max_steps", None)
        return before is not None and last is not None and step + max(step - before, 1) > last

    def _report_trouble(self, reason: BlowUp, what: str, time_ps: float) -> None:
        self.trouble = f"{what} at {time_ps:.4f} ps"
        self._blew_up(reason, stopped=self._stop)
        if self._stop:
            raise DynamicsBlewUp(
                self.trouble,
                expected="a bounded trajectory",
                action="try a shorter timestep or a lower temperature, and look at the novelty "
                "of the last frames: the model may be outside its training data",
            )

    def _blew_up(self, reason: BlowUp, stopped: bool) -> None:
        if self._facts.blow_up is None:
            self._facts.blow_up = reason
            if self._reporter is not None:
                self._reporter.blew_up(stopped)
