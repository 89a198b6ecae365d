"""Who takes the steps of ``forcegate md``: the engine here, the server, or ASE, one by one."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from forcegate_client.cli.md_settings import Ensemble, MDSettings
from forcegate_client.constraints import fixed_atoms
from forcegate_client.errors import InvalidStructure
from forcegate_client.http.client import Client
from forcegate_client.local.dynamics import LocalDynamics, taken_by_the_engine
from forcegate_client.md.checkpoint import Checkpoint
from forcegate_client.md.remote import RemoteDynamics
from forcegate_client.potential import Potential
from forcegate_client.runs import RUN_PATHS

__all__ = ["StepsBy", "dynamics_of", "steps_by"]

# The noise of what comes before a run is not that of the run.
_EQUILIBRATION, _RUN = 1, 0


class StepsBy(StrEnum):
    """What takes the steps; the value stands in ``summary.json``."""

    ENGINE = "engine"
    SERVER = "server"
    CLIENT = "client"


def steps_by(
    atoms: Atoms, potential: Potential, *, one_by_one: bool, start: Checkpoint | None
) -> tuple[StepsBy, str]:
    """Who takes them, and what is to be said of it.

    A run goes on as it began, as far as bits depend on it.

    Raises:
        ForcegateError: if a server has to be asked and does not answer.
    """
    if taken_by_the_engine(atoms):
        return StepsBy.ENGINE, ""
    if not isinstance(potential, Client):
        return StepsBy.CLIENT, ""
    if one_by_one:
        return StepsBy.CLIENT, "steps are taken one by one, as asked for"
    if start is not None and start.step and start.velocities is None:
        return StepsBy.CLIENT, "steps are taken one by one, as this run began"
    try:
        fixed_atoms(atoms)
    except InvalidStructure as error:
        return StepsBy.CLIENT, f"steps are taken one by one: {error.received}"
    if not potential.knows(RUN_PATHS["dynamics"]):
        return StepsBy.CLIENT, "steps are taken one by one: this server takes none itself"
    return StepsBy.SERVER, "the server takes the steps"


def dynamics_of(
    atoms: Atoms,
    settings: MDSettings,
    by: StepsBy,
    rng: np.random.Generator,
    *,
    equilibration: bool = False,
) -> MolecularDynamics:
    """The dynamics of the run, or of what comes before it; ``atoms`` have their calculator."""
    timestep = settings.timestep_fs * units.fs
    thermostat = {}
    if equilibration or settings.ensemble is Ensemble.LANGEVIN:
        assert settings.temperature_k is not None
        thermostat = {
            "temperature_K": settings.temperature_k,
            "friction": settings.friction_per_fs / units.fs,
        }
    if by is not StepsBy.CLIENT:
        stream = _EQUILIBRATION if equilibration else _RUN
        options = {"timestep": timestep, "seed": settings.seed, "stream": stream, **thermostat}
        return (LocalDynamics if by is StepsBy.ENGINE else RemoteDynamics)(atoms, **options)
    if not thermostat:
        return VelocityVerlet(atoms, timestep)
    return Langevin(atoms, timestep, **thermostat, fixcm=False, rng=rng)
