"""What a run of ``forcegate md`` is, and what of it may still change when it goes on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from ase import Atoms

from forcegate_client.cli.console import CommandError

__all__ = ["Ensemble", "EnsembleName", "MDSettings", "Velocities", "ensemble_named"]


class Ensemble(StrEnum):
    """Microcanonical, or a Langevin thermostat."""

    NVE = "nve"
    LANGEVIN = "langevin"


class EnsembleName(StrEnum):
    """What may be asked for; ``nvt`` is ``langevin``."""

    NVE = "nve"
    NVT = "nvt"
    LANGEVIN = "langevin"
    NPT = "npt"


class Velocities(StrEnum):
    """Where they come from: the input if it has any and nothing else is asked for, or drawn."""

    AUTO = "auto"
    STORED = "stored"
    NEW = "new"


@dataclass(frozen=True)
class MDSettings:
    """What a run is; kept in its ``summary.json``. The ``…_every`` count steps.

    ``stored_velocities``: the input's are kept; such a run is neither relaxed nor equilibrated
    first, and at constant energy has no target temperature (``None``).
    """

    ensemble: Ensemble
    temperature_k: float | None
    timestep_fs: float
    time_ps: float
    equilibrate_ps: float
    friction_per_fs: float
    relax: bool
    seed: int
    log_every: int
    frame_every: int
    stored_velocities: bool = False

    @property
    def conserves_energy(self) -> bool:
        """Whether a drift of the total energy means anything."""
        return self.ensemble is Ensemble.NVE

    def for_velocities(
        self, atoms: Atoms, wanted: Velocities, given: Collection[str]
    ) -> MDSettings:
        """With the velocities that ``atoms`` have, unless something ``given`` speaks against it.

        Raises:
            CommandError: if stored ones are demanded and there are none.
        """
        moving = bool(atoms.has("momenta") and atoms.get_momenta().any())
        if wanted is Velocities.STORED and not moving:
            raise CommandError("the input has no velocities; leave out --velocities stored")
        against = {"temperature", "relax", "equilibrate_ps"} & set(given)
        if wanted is Velocities.STORED and against - {"temperature"}:
            raise CommandError("--velocities stored excludes relaxing and equilibrating first")
        if not moving or wanted is Velocities.NEW or (wanted is Velocities.AUTO and against):
            return self
        target = self.temperature_k
        if self.conserves_energy and "temperature" not in given:
            target = None
        return replace(
            self, stored_velocities=True, relax=False, equilibrate_ps=0.0, temperature_k=target
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> MDSettings:
        """What ``asdict`` has made of it, once it was JSON."""
        return cls(**{**document, "ensemble": Ensemble(document["ensemble"])})

    def continued(self, now: MDSettings, given: Collection[str]) -> MDSettings:
        """The same run, to the end that ``now`` names.

        Raises:
            CommandError: if anything else that was ``given`` differs.
        """
        fields = {"temperature": "temperature_k", "friction": "friction_per_fs"}
        mine, theirs = asdict(self), asdict(now)
        for option in given:
            name = fields.get(option, option)
            if name in mine and name != "time_ps" and mine[name] != theirs[name]:
                raise CommandError(
                    f"{name} is {theirs[name]} now and was {mine[name]}; a run goes on as it "
                    "began, only --time-ps may change"
                )
        return replace(self, time_ps=now.time_ps) if "time_ps" in given else self


def ensemble_named(name: EnsembleName) -> Ensemble:
    """What is meant.

    Raises:
        CommandError: for what is not there yet.
    """
    if name is EnsembleName.NPT:
        raise CommandError(
            "constant pressure is not offered: no model here is validated for the stress of "
            "periodic structures; use --ensemble nvt or nve at a fixed cell"
        )
    return Ensemble.NVE if name is EnsembleName.NVE else Ensemble.LANGEVIN
