"""The microcanonical (NVE) protocol: does this potential conserve energy, and stay in one piece?

Relax; start at twice the temperature (a relaxed molecule gives half of it to its potential
energy) or equilibrate with Langevin dynamics; take away overall motion; scale; velocity Verlet.
Works with every ASE calculator, so that a student and its teacher are judged alike. The drift
measures the smoothness of the potential and the integrator, not accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculatorError
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from ase.optimize import LBFGS

from forcegate_client.errors import UnprocessableRequest
from forcegate_client.md.bonds import BondChanges, bond_changes, bonded_pairs
from forcegate_client.md.drift import Drift, energy_drift
from forcegate_client.md.monitor import DynamicsBlewUp, MDMonitor, MDReport, MDSamples
from forcegate_client.md.velocities import (
    degrees_of_freedom,
    draw_velocities,
    remove_translation_and_rotation,
    scale_to_temperature,
    temperature_of,
)
from forcegate_client.results import with_results

__all__ = [
    "BondChanges",
    "Drift",
    "NVEReport",
    "bond_changes",
    "bonded_pairs",
    "degrees_of_freedom",
    "draw_velocities",
    "energy_drift",
    "equilibrate",
    "run_nve",
    "snapshot",
    "start_velocities",
    "steps_in",
    "temperature_of",
]

DEFAULT_FRICTION_PER_FS = 0.01


@dataclass(frozen=True)
class NVEReport:
    """Result of ``run_nve``; a run that blew up carries what was sampled before, and why."""

    temperature_k: float
    timestep_fs: float
    seed: int
    relaxed: bool
    md: MDReport
    samples: MDSamples
    final: Atoms
    frames: list[Atoms] = field(default_factory=list, repr=False)

    @property
    def drift(self) -> Drift | None:
        """Drift of the total energy; ``None`` if the run ended too soon to tell."""
        return self.md.drift

    @property
    def survived(self) -> bool:
        """Whether the run reached its end."""
        return self.md.trouble is None

    @property
    def temperature_sigma_k(self) -> float:
        """T/√n_dof: what a microcanonical temperature fluctuates by."""
        return self.temperature_k / float(np.sqrt(self.md.n_dof))

    @property
    def half_temperatures_k(self) -> tuple[float, float]:
        """Mean temperatures of the first and the second half."""
        middle = len(self.samples.temperature_k) // 2
        if middle < 1:
            return np.nan, np.nan
        first, second = self.samples.temperature_k[:middle], self.samples.temperature_k[middle:]
        return float(first.mean()), float(second.mean())

    @property
    def temperature_ok(self) -> bool:
        """Mean within 3σ of the target, and the halves within 3σ of each other."""
        first, second = self.half_temperatures_k
        tolerance = 3.0 * self.temperature_sigma_k
        mean = self.md.mean_temperature_k
        return abs(mean - self.temperature_k) <= tolerance and abs(first - second) <= tolerance

    @property
    def rms_fluctuation_mev_per_atom(self) -> float:
        """Standard deviation of the total energy; NaN without samples."""
        if not len(self.samples.total_ev):
            return np.nan
        return float(self.samples.total_ev.std()) * 1000.0 / self.md.n_atoms

    @property
    def relative_energy_change_percent(self) -> float:
        """|E_end − E_start| / |E_start| in %: depends on the zero of energy, for comparison only.

        NaN without samples or if the starting energy is zero.
        """
        total = self.samples.total_ev
        if not len(total) or total[0] == 0.0:
            return np.nan
        return 100.0 * abs(float((total[-1] - total[0]) / total[0]))

    def passes(self, limit_mev_per_atom_per_ps: float) -> bool:
        """Survived, and |drift| + 2 SE within the limit."""
        return (
            self.survived
            and self.drift is not None
            and self.drift.passes(limit_mev_per_atom_per_ps)
        )


def run_nve(
    atoms: Atoms,
    *,
    temperature_K: float = 300.0,
    timestep_fs: float = 0.5,
    duration_ps: float = 10.0,
    relax_fmax: float | None = 0.02,
    relax_steps: int = 1000,
    equilibrate_ps: float = 0.0,
    settle_ps: float = 0.2,
    friction_per_fs: float = DEFAULT_FRICTION_PER_FS,
    sample_every: int = 1,
    keep_frames_every: int | None = None,
    seed: int = 0,
    on_sample: Callable[[MDMonitor], None] | None = None,
    report: bool = True,
) -> NVEReport:
    """Run the protocol on a copy of ``atoms`` with its calculator (eV, eV/Å, masses in u).

    ``equilibrate_ps`` > 0 (2 or more is advised) starts from Langevin dynamics, 0 from velocities
    at twice the temperature. ``settle_ps`` of NVE are not recorded: a start at the bottom of the
    well sees another integrator error than the trajectory after it. Every ``sample_every``-th
    step is recorded and handed to ``on_sample``; ``keep_frames_every`` counts steps between the
    frames that the report keeps. ``relax_fmax=None`` skips the relaxation. ``report=False`` keeps
    the run from the server, as in ``MDMonitor``.

    A run that blows up, or whose structures the calculator refuses, is a report with
    ``survived == False``, not an exception.

    Raises:
        ValueError: if ``atoms`` has no calculator or no degrees of freedom.
    """
    if atoms.calc is None:
        raise ValueError("atoms has no calculator; expected atoms.calc = RemoteCalculator(…)")
    work = atoms.copy()
    work.calc = atoms.calc
    relaxed = relax_fmax is not None and bool(
        LBFGS(work, logfile=None).run(fmax=relax_fmax, steps=relax_steps)
    )
    n_dof = degrees_of_freedom(work)
    rng = np.random.default_rng(seed)
    start_velocities(work, temperature_K, rng, n_dof, from_minimum=equilibrate_ps <= 0.0)

    dynamics = VelocityVerlet(work, timestep_fs * units.fs)
    monitor = MDMonitor(dynamics, temperature_K=temperature_K, n_dof=n_dof, report=report)
    frames: list[Atoms] = []
    try:
        if equilibrate_ps > 0.0:
            thermostat = Langevin(
                work,
                timestep_fs * units.fs,
                temperature_K=temperature_K,
                friction=friction_per_fs / units.fs,
                # Holding the centre of mass here would distort the distribution; overall motion
                # is removed once, afterwards.
                fixcm=False,
                rng=rng,
            )
            equilibrate(thermostat, temperature_K, steps_in(equilibrate_ps, timestep_fs), n_dof)
        VelocityVerlet(work, timestep_fs * units.fs).run(steps_in(settle_ps, timestep_fs))
        dynamics.attach(monitor, interval=sample_every)
        if on_sample is not None:
            dynamics.attach(on_sample, sample_every, monitor)
        if keep_frames_every is not None:
            dynamics.attach(lambda: frames.append(snapshot(work)), keep_frames_every)
        dynamics.run(steps_in(duration_ps, timestep_fs))
    except (DynamicsBlewUp, UnprocessableRequest, CalculatorError) as error:
        monitor.ended_by(error)
    finally:
        monitor.close()
    return NVEReport(
        temperature_k=temperature_K,
        timestep_fs=timestep_fs,
        seed=seed,
        relaxed=relaxed,
        md=monitor.report(),
        samples=monitor.samples,
        final=work,
        frames=frames,
    )


def start_velocities(
    atoms: Atoms,
    temperature_K: float,
    rng: np.random.Generator,
    n_dof: int,
    from_minimum: bool,
) -> None:
    """Draw velocities that lead to ``temperature_K``: twice that if ``atoms`` sit in a minimum."""
    draw_velocities(atoms, 2.0 * temperature_K if from_minimum else temperature_K, rng, n_dof)


def equilibrate(dynamics: MolecularDynamics, temperature_K: float, steps: int, n_dof: int) -> None:
    """Run ``dynamics``, which has a thermostat; then at rest as a whole, at the temperature."""
    dynamics.run(steps)
    remove_translation_and_rotation(dynamics.atoms)
    scale_to_temperature(dynamics.atoms, temperature_K, n_dof)


def steps_in(duration_ps: float, timestep_fs: float) -> int:
    """The number of whole steps nearest to a duration."""
    return round(duration_ps * 1000.0 / timestep_fs)


def snapshot(atoms: Atoms) -> Atoms:
    """A copy that keeps energy (eV) and forces (eV/Å), and no calculator that could compute."""
    return with_results(atoms, atoms.get_potential_energy(), atoms.get_forces())
