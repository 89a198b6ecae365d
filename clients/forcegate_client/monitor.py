"""Watch a molecular-dynamics run: energies, temperature, live drift, and when it goes wrong."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from ase import units
from ase.md.md import MolecularDynamics

from forcegate_client.bonds import bond_changes, bonded_pairs
from forcegate_client.drift import MIN_BLOCKS, Drift, energy_drift
from forcegate_client.errors import ForcegateError
from forcegate_client.velocities import degrees_of_freedom, temperature_of

__all__ = ["DynamicsBlewUp", "MDMonitor", "MDReport", "MDSamples", "Sample"]

Float = npt.NDArray[np.float64]


class DynamicsBlewUp(ForcegateError):
    """The trajectory left what physics allows; ``MDMonitor`` keeps what came before."""

    default_code = "dynamics_blew_up"
    title = "The dynamics blew up"


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
    """What an ``MDMonitor`` saw. ``drift`` means something only for a microcanonical run."""

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
    or a bond is torn to more than ``stretch_limit`` times its covalent radii. The temperature
    limit follows from ``temperature_K``, by default the first temperature seen. ``n_dof`` defaults
    to the present structure's ``degrees_of_freedom``; a Langevin thermostat drives overall motion
    too and has 3N. ``bonds`` are the ``bonded_pairs`` that should hold, by default the present
    ones; give those from before an equilibration. Energies are those that the calculator has
    already computed for the step: watching costs no evaluation.
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
    ) -> None:
        atoms = dynamics.atoms
        self.dynamics = dynamics
        self.n_dof = degrees_of_freedom(atoms) if n_dof is None else n_dof
        self.trouble: str | None = None
        self._stretch_limit = stretch_limit
        self._check_bonds_every = check_bonds_every
        self._stop = stop
        self._temperature_limit_k = None if temperature_K is None else self._limit_k(temperature_K)
        self._start_bonds = bonded_pairs(atoms) if bonds is None else bonds
        # Four doubles a sample: a run of days has 10⁷ of them.
        self._values = array("d")
        self._broken: set[tuple[int, int]] = set()
        self._formed: set[tuple[int, int]] = set()

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
            return self._report_trouble("an energy, velocity or force that is not finite", time_ps)
        self._values.extend(row)
        if self._temperature_limit_k is None:
            self._temperature_limit_k = self._limit_k(row.temperature_k)
        if row.temperature_k > self._temperature_limit_k:
            what = (
                f"{row.temperature_k:.0f} K, above the limit of {self._temperature_limit_k:.0f} K"
            )
            return self._report_trouble(what, time_ps)
        if self.n_samples % self._check_bonds_every == 0:
            self._check_bonds(time_ps)
        return None

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
        """Drift of the total energy so far, once there are enough samples to tell."""
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

    def _limit_k(self, expected: float) -> float:
        # Small systems fluctuate more, and a cold start may still release strain.
        return 5.0 * expected * (1.0 + 5.0 / math.sqrt(self.n_dof)) + 1000.0

    def _check_bonds(self, time_ps: float) -> None:
        changes = bond_changes(self._start_bonds, self.dynamics.atoms, reach=self._stretch_limit)
        self._broken |= changes.broken
        self._formed |= changes.formed
        if changes.longest_ratio > self._stretch_limit:
            pairs = ", ".join(f"{i}–{j}" for i, j in sorted(changes.broken))
            self._report_trouble(
                f"the bonds {pairs} torn beyond {self._stretch_limit} × their covalent radii",
                time_ps,
            )

    def _report_trouble(self, what: str, time_ps: float) -> None:
        self.trouble = f"{what} at {time_ps:.4f} ps"
        if self._stop:
            raise DynamicsBlewUp(
                self.trouble,
                expected="a bounded trajectory",
                action="try a shorter timestep or a lower temperature, and look at the novelty "
                "of the last frames: the model may be outside its training data",
            )
