"""How long, how hot and for which molecules: the suites that a subject can be measured with."""

from __future__ import annotations

from dataclasses import dataclass

from forcegate_trainer.errors import SettingsError
from forcegate_trainer.validation.confidence.novelty import NoveltySettings
from forcegate_trainer.validation.interactions.binding import BindingSettings
from forcegate_trainer.validation.interactions.tail import PAIRS, TailSettings
from forcegate_trainer.validation.interactions.water_clusters import WaterSettings
from forcegate_trainer.validation.statics.dissociation import DissociationSettings
from forcegate_trainer.validation.statics.relaxation import RelaxationSettings
from forcegate_trainer.validation.statics.screening import ScreeningSettings
from forcegate_trainer.validation.statics.torsionnet import TorsionNetSettings
from forcegate_trainer.validation.statics.torsions import TorsionSettings

__all__ = ["FULL", "QUICK", "SUITES", "ControlSettings", "NVESettings", "Suite", "suite_named"]


@dataclass(frozen=True)
class NVESettings:
    """One microcanonical run of many molecules.

    Molecules are relaxed to ``relax_fmax`` (eV/Å) and start with velocities at twice the
    temperature, of which a relaxed structure gives half to its bonds. ``settle_ps`` are not
    recorded; then energies are recorded every ``record_every`` steps and bonds looked at every
    ``bonds_every``. ``frames`` are kept of each molecule, spread evenly over the run.
    """

    temperature_k: float = 300.0
    timestep_fs: float = 0.5
    duration_ps: float = 10.0
    settle_ps: float = 0.4
    relax_fmax: float = 0.02
    relax_steps: int = 1000
    record_every: int = 2
    bonds_every: int = 10
    frames: int = 0
    seed: int = 7

    @property
    def title(self) -> str:
        """Such as ``300 K, 0.5 fs``."""
        return f"{self.temperature_k:g} K, {self.timestep_fs:g} fs"


@dataclass(frozen=True)
class ControlSettings:
    """The teacher in the student's place: the same protocol for fewer molecules and less time."""

    molecules: tuple[str, ...]
    run: NVESettings


@dataclass(frozen=True)
class Suite:
    """What a subject is measured with.

    ``molecules`` are names of ``molecules.PUBLIC``; ``test_molecules`` more are taken from the
    dataset's test split. ``main`` is run for all molecules: its first ``drift_ps`` are judged for
    drift, all of it for survival, its frames are shown to the teacher. ``hot`` is run for all
    molecules, ``variations`` for those named in ``varied``. Verdicts are given if ``judges``.
    A check whose settings are None is left out. ``charged`` are names of ``molecules.CHARGED``,
    which are run with ``charged_run`` as far as the subject knows them.
    """

    name: str
    molecules: tuple[str, ...]
    test_molecules: int
    main: NVESettings
    drift_ps: float
    hot: NVESettings
    variations: tuple[NVESettings, ...]
    varied: tuple[str, ...]
    control: ControlSettings
    cost_calls: int
    judges: bool
    relaxation: RelaxationSettings | None
    screening: ScreeningSettings | None
    torsions: TorsionSettings | None
    torsionnet: TorsionNetSettings | None
    novelty: NoveltySettings | None
    dissociation: DissociationSettings | None
    binding: BindingSettings | None
    tail: TailSettings | None
    water: WaterSettings | None
    charged: tuple[str, ...]
    charged_run: NVESettings


_CONTROL_RUN = NVESettings(duration_ps=2.0)

FULL = Suite(
    name="full",
    molecules=(
        *("water", "methane", "alanine"),
        *("aspirin", "azobenzene", "benzene", "ethanol", "malonaldehyde", "naphthalene"),
        *("paracetamol", "salicylic acid", "toluene", "uracil"),
        *("alanine dipeptide", "caffeine", "ibuprofen"),
    ),
    test_molecules=12,
    main=NVESettings(duration_ps=50.0, frames=25),
    drift_ps=10.0,
    hot=NVESettings(temperature_k=500.0),
    variations=(
        NVESettings(temperature_k=100.0),
        NVESettings(timestep_fs=1.0),
        NVESettings(timestep_fs=2.0),
    ),
    varied=("water", "ethanol", "aspirin", "alanine dipeptide", "ibuprofen"),
    control=ControlSettings(
        ("water", "methane", "ethanol", "malonaldehyde", "benzene", "uracil", "salicylic acid"),
        _CONTROL_RUN,
    ),
    cost_calls=200,
    judges=True,
    relaxation=RelaxationSettings(),
    screening=ScreeningSettings(),
    torsions=TorsionSettings(),
    torsionnet=TorsionNetSettings(),
    novelty=NoveltySettings(),
    dissociation=DissociationSettings(),
    binding=BindingSettings(),
    tail=TailSettings(),
    water=WaterSettings(),
    charged=("acetate", "dopamine's cation", "glycine zwitterion in three waters", "bromhexine"),
    charged_run=NVESettings(),
)

QUICK = Suite(
    name="quick",
    molecules=("water", "ethanol", "aspirin", "alanine dipeptide"),
    test_molecules=1,
    main=NVESettings(duration_ps=2.0, frames=10),
    drift_ps=2.0,
    hot=NVESettings(temperature_k=500.0, duration_ps=1.0),
    variations=(NVESettings(timestep_fs=1.0, duration_ps=2.0),),
    varied=("water", "ethanol"),
    control=ControlSettings(("water", "ethanol"), _CONTROL_RUN),
    cost_calls=50,
    judges=False,
    relaxation=RelaxationSettings(starts=1),
    screening=ScreeningSettings(test_molecules=1, conformers=4, candidates=12),
    torsions=TorsionSettings(molecules=2, angles=12),
    torsionnet=TorsionNetSettings(every=120, angles=12),
    novelty=NoveltySettings(structures=8),
    dissociation=DissociationSettings(dimers=("Water_dimer",)),
    binding=BindingSettings(every=6),
    tail=TailSettings(pairs=PAIRS[::3], points=12),
    water=WaterSettings(sizes=(2, 4, 6), copies=1),
    charged=("acetate",),
    charged_run=NVESettings(duration_ps=1.0),
)

SUITES = {suite.name: suite for suite in (QUICK, FULL)}


def suite_named(name: str) -> Suite:
    """The suite of that name.

    Raises:
        SettingsError: if there is none.
    """
    if name not in SUITES:
        raise SettingsError(f"received suite {name!r}; expected one of {', '.join(SUITES)}")
    return SUITES[name]
