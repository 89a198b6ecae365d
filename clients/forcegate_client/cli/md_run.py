"""The stages of ``forcegate md``: prepare a structure, choose the dynamics, run and record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from ase.optimize import LBFGS
from rich.progress import Progress

from forcegate_client.bonds import bonded_pairs
from forcegate_client.cli.console import CommandError
from forcegate_client.cli.md_output import MDOutput
from forcegate_client.cli.md_progress import show_monitor, show_stage
from forcegate_client.errors import ForcegateError
from forcegate_client.monitor import MDMonitor
from forcegate_client.nve import degrees_of_freedom, equilibrate, start_velocities, steps_in

__all__ = [
    "Ensemble",
    "MDSettings",
    "Prepared",
    "new_monitor",
    "prepare",
    "record",
    "require_motion",
]

RELAX_FMAX, RELAX_STEPS = 0.02, 500


class Ensemble(StrEnum):
    """Microcanonical, or a Langevin thermostat."""

    NVE = "nve"
    LANGEVIN = "langevin"


@dataclass(frozen=True)
class MDSettings:
    """What a run is; kept in its ``summary.json``. The ``…_every`` count steps."""

    ensemble: Ensemble
    temperature_k: float
    timestep_fs: float
    time_ps: float
    equilibrate_ps: float
    friction_per_fs: float
    relax: bool
    seed: int
    log_every: int
    frame_every: int

    @property
    def conserves_energy(self) -> bool:
        """Whether a drift of the total energy means anything."""
        return self.ensemble is Ensemble.NVE


@dataclass(frozen=True)
class Prepared:
    """What is known of the structure before heat moves it."""

    n_dof: int
    bonds: frozenset[tuple[int, int]]


def require_motion(atoms: Atoms) -> None:
    """Find out before anything is asked or written whether ``atoms`` can move.

    Raises:
        CommandError: if they cannot, saying what holds them.
    """
    if degrees_of_freedom(atoms) >= 1:
        return
    if atoms.constraints:
        names = ", ".join(sorted({type(one).__name__ for one in atoms.constraints}))
        raise CommandError(
            f"the constraints of the structure ({names}) hold all {len(atoms)} atoms, so nothing "
            "moves; remove them, or free some atoms"
        )
    raise CommandError("one atom alone has no internal motion; nothing to simulate")


def prepare(
    atoms: Atoms, settings: MDSettings, rng: np.random.Generator, progress: Progress
) -> Prepared:
    """Relax, set in motion and equilibrate in place.

    Raises:
        ForcegateError: if the server refuses a structure on the way.
    """
    if settings.relax:
        optimizer = LBFGS(atoms, logfile=None)
        optimizer.attach(show_stage(progress, "relaxing", RELAX_STEPS))
        optimizer.run(fmax=RELAX_FMAX, steps=RELAX_STEPS)
    n_dof = degrees_of_freedom(atoms)
    bonds = bonded_pairs(atoms)
    thermostat = settings.equilibrate_ps > 0.0
    start_velocities(
        atoms, settings.temperature_k, rng, n_dof, from_minimum=settings.relax and not thermostat
    )
    if thermostat:
        steps = steps_in(settings.equilibrate_ps, settings.timestep_fs)
        equilibrate(
            atoms,
            settings.temperature_k,
            settings.equilibrate_ps,
            settings.timestep_fs,
            settings.friction_per_fs,
            rng,
            n_dof,
            on_step=show_stage(progress, "equilibrating", steps),
        )
    return Prepared(n_dof, bonds)


def new_monitor(
    atoms: Atoms,
    settings: MDSettings,
    rng: np.random.Generator,
    prepared: Prepared,
    report: bool = True,
) -> MDMonitor:
    """A monitor with the dynamics it watches; ``report``: whether it tells the server."""
    timestep = settings.timestep_fs * units.fs
    n_dof = prepared.n_dof
    dynamics: MolecularDynamics
    if settings.ensemble is Ensemble.NVE:
        dynamics = VelocityVerlet(atoms, timestep)
    else:
        dynamics = Langevin(
            atoms,
            timestep,
            temperature_K=settings.temperature_k,
            friction=settings.friction_per_fs / units.fs,
            fixcm=False,
            rng=rng,
        )
        # This thermostat drives overall motion as well.
        n_dof = int(atoms.get_number_of_degrees_of_freedom())
    return MDMonitor(
        dynamics,
        temperature_K=settings.temperature_k,
        n_dof=n_dof,
        bonds=prepared.bonds,
        report=report,
    )


def record(monitor: MDMonitor, settings: MDSettings, output: MDOutput, progress: Progress) -> bool:
    """Run to the end, to trouble (``monitor.trouble``) or to Ctrl-C, for which it returns True."""
    dynamics = monitor.dynamics
    steps = steps_in(settings.time_ps, settings.timestep_fs)
    show = show_monitor(
        progress,
        settings.ensemble.value,
        steps,
        settings.log_every,
        monitor,
        drifts=settings.conserves_energy,
    )
    for observer in (monitor, output.log, show):
        dynamics.attach(observer, interval=settings.log_every)
    dynamics.attach(output.frame, interval=settings.frame_every)
    try:
        dynamics.run(steps)
    except KeyboardInterrupt:
        return True
    except ForcegateError as error:
        # Whatever stopped it, hours of trajectory are worth a summary and a plot.
        monitor.ended_by(error)
    finally:
        monitor.close()
    return False
