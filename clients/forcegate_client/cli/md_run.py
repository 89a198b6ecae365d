"""The stages of ``forcegate md``: prepare a structure, choose the dynamics, run and record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.optimize import LBFGS
from rich.progress import Progress

from forcegate_client.cli.console import CommandError
from forcegate_client.cli.md_dynamics import StepsBy, dynamics_of
from forcegate_client.cli.md_output import MDOutput
from forcegate_client.cli.md_progress import Stage, show_monitor
from forcegate_client.cli.md_settings import MDSettings
from forcegate_client.errors import ForcegateError, OutputUnwritable
from forcegate_client.md.bonds import Pair, bonded_pairs
from forcegate_client.md.checkpoint import Checkpointer
from forcegate_client.md.frames import FrameDynamics
from forcegate_client.md.monitor import MDMonitor
from forcegate_client.md.nve import degrees_of_freedom, equilibrate, start_velocities, steps_in

__all__ = ["Prepared", "new_monitor", "prepare", "record", "require_motion"]

RELAX_FMAX, RELAX_STEPS = 0.02, 500
# Steps between two looks at an equilibration.
_SHOWN_EVERY = 20


@dataclass(frozen=True)
class Prepared:
    """What is known of the structure before heat moves it."""

    n_dof: int
    bonds: frozenset[Pair]


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
    atoms: Atoms,
    settings: MDSettings,
    by: StepsBy,
    rng: np.random.Generator,
    progress: Progress,
) -> Prepared:
    """Relax, set in motion and equilibrate in place, or leave the motion that there is.

    Raises:
        ForcegateError: if the server refuses a structure on the way.
    """
    if settings.relax:
        optimizer = LBFGS(atoms, logfile=None)
        with Stage(progress, "relaxing", "relaxed", RELAX_STEPS) as stage:
            optimizer.attach(lambda: stage.reach(optimizer.nsteps))
            optimizer.run(fmax=RELAX_FMAX, steps=RELAX_STEPS)
    n_dof = degrees_of_freedom(atoms)
    bonds = bonded_pairs(atoms)
    if settings.stored_velocities:
        return Prepared(n_dof, bonds)
    thermostat = settings.equilibrate_ps > 0.0
    temperature_k = settings.temperature_k
    assert temperature_k is not None
    start_velocities(
        atoms, temperature_k, rng, n_dof, from_minimum=settings.relax and not thermostat
    )
    if thermostat:
        steps = steps_in(settings.equilibrate_ps, settings.timestep_fs)
        dynamics = dynamics_of(atoms, settings, by, rng, equilibration=True)
        with Stage(progress, "equilibrating", "equilibrated", steps) as stage:
            dynamics.attach(lambda: stage.reach(dynamics.nsteps), interval=_SHOWN_EVERY)
            equilibrate(dynamics, temperature_k, steps, n_dof)
    return Prepared(n_dof, bonds)


def new_monitor(
    atoms: Atoms,
    settings: MDSettings,
    by: StepsBy,
    rng: np.random.Generator,
    prepared: Prepared,
    report: bool = True,
) -> MDMonitor:
    """A monitor with the dynamics it watches; ``report``: whether it tells the server."""
    n_dof = prepared.n_dof
    dynamics = dynamics_of(atoms, settings, by, rng)
    if not settings.conserves_energy:
        # This thermostat drives overall motion as well.
        n_dof = int(atoms.get_number_of_degrees_of_freedom())
    return MDMonitor(
        dynamics,
        temperature_K=settings.temperature_k,
        n_dof=n_dof,
        bonds=prepared.bonds,
        report=report,
    )


def record(
    monitor: MDMonitor,
    settings: MDSettings,
    output: MDOutput,
    checkpointer: Checkpointer,
    progress: Progress,
) -> KeyboardInterrupt | None:
    """Run to the end, to trouble (``monitor.trouble``) or to a signal, which it returns.

    Raises:
        OSError, OutputUnwritable: if what was computed cannot be written down.
    """
    dynamics = monitor.dynamics
    steps = steps_in(settings.time_ps, settings.timestep_fs)
    show = show_monitor(progress, settings.ensemble.value, steps, monitor, settings)
    for observer in (monitor, output.log, show):
        dynamics.attach(observer, interval=settings.log_every)
    dynamics.attach(output.frame, interval=settings.frame_every)
    # Last: what it keeps has been written down.
    if isinstance(dynamics, FrameDynamics):
        dynamics.attach_to_frames(checkpointer)
    else:
        dynamics.attach(checkpointer, interval=1)
    try:
        dynamics.run(steps - dynamics.nsteps)
    except KeyboardInterrupt as stop:
        return stop
    except OutputUnwritable:
        raise
    except ForcegateError as error:
        # Whatever stopped it, hours of trajectory are worth a summary and a plot.
        monitor.ended_by(error)
    finally:
        monitor.close()
    return None
