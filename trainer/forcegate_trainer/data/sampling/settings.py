"""What is sampled: frames of molecules, complexes, and where a student's own dynamics goes."""

from dataclasses import dataclass

import numpy as np

from forcegate_client.dataset import Source
from forcegate_trainer.data.sampling.randomness import generator
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.settings import refuse_out_of_bounds, setting
from forcegate_trainer.teachers import parse_teacher

MMFF = "mmff"


@dataclass(frozen=True)
class SamplingSettings:
    """What to sample; stored with the frames.

    ``driver`` is ``mmff`` or a teacher's name: what molecular dynamics runs under. A chain starts
    at a relaxed conformer, is equilibrated for ``equilibration_steps`` and then gives a frame every
    ``decorrelation_steps`` (of 1 fs). ``settle`` names a teacher under which each frame of the
    force field is run for ``settle_steps`` more, because a force field's stiff bonds have other
    lengths than the teacher's. Shares are of all frames. ``molecules_per_split`` takes a random
    few of each split; None takes all.
    """

    temperatures: tuple[float, ...] = (100.0, 300.0, 500.0, 1000.0)
    splits: tuple[str, ...] = ("train", "validation", "test")
    driver: str = setting(MMFF, "What dynamics runs under: 'mmff' or a teacher.")
    frames_per_molecule: int = setting(12, low=1)
    conformers: int = setting(4, "Starting geometries.", low=1)
    molecules_per_split: int | None = setting(
        None, "A random few of each split; without it, all.", low=1
    )
    equilibration_steps: int = setting(200, "Of 1 fs.", low=0)
    decorrelation_steps: int = setting(200, "Of 1 fs, between frames.", low=1)
    settle: str | None = setting(None, "A teacher to run each force-field frame on for a while.")
    settle_steps: int = setting(30, "Of 1 fs.", low=1)
    distorted_share: float = setting(0.1, "Stretched bonds, turned torsions.")
    dimer_share: float = setting(0.05, "Pairs of small molecules.")
    seed: int = setting(0)
    split_seed: int = setting(0, "As in `molecules`.")

    def __post_init__(self) -> None:
        refuse_out_of_bounds(self)
        if not self.temperatures or min(self.temperatures) <= 0:
            raise SettingsError(
                f"received temperatures {self.temperatures}; expected positive ones, in K"
            )
        for name in ("distorted_share", "dimer_share"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(
                    f"received {name} = {getattr(self, name)}; expected from 0 to below 1"
                )
        if self.driver != MMFF:
            parse_teacher(self.driver)
            if self.settle is not None:
                raise SettingsError(
                    f"received --settle {self.settle} with the teacher {self.driver} as driver; "
                    "expected it only with --driver mmff"
                )
        if self.settle is not None:
            parse_teacher(self.settle)

    @property
    def thermal_source(self) -> Source:
        """What the frames of molecular dynamics are called."""
        if self.driver != MMFF:
            return Source.TEACHER_MD
        return Source.LANGEVIN if self.settle is None else Source.SETTLED

    @property
    def distorted_frames(self) -> int:
        """Stretched and turned frames of a molecule."""
        return round(self.distorted_share * self.frames_per_molecule)

    def thermal_frames(self, rng: np.random.Generator) -> list[tuple[float, int]]:
        """Temperature and number of frames of each chain of a molecule.

        A molecule with fewer frames than there are temperatures gets a random few of these.
        """
        total = self.frames_per_molecule - self.distorted_frames
        chains = len(self.temperatures)
        if total < chains:
            chosen = np.sort(rng.choice(chains, size=total, replace=False))
            return [(self.temperatures[index], 1) for index in chosen]
        counts = [total // chains + (index < total % chains) for index in range(chains)]
        return list(zip(self.temperatures, counts, strict=True))

    def generator(self, *purpose: str) -> np.random.Generator:
        """Randomness for one purpose (a molecule), independent of all others."""
        return generator(self.seed, *purpose)


@dataclass(frozen=True)
class ExplorationSettings:
    """How a student explores; stored with the frames.

    ``driver`` is a student, the folder of an exported version or of a run, or a teacher: the frames
    of a teacher's own dynamics are what validation and test are about. Each start is run for
    ``steps`` of 1 fs under Langevin dynamics; a frame every ``every`` steps is a candidate, and the
    ``keep`` most novel ones of a trajectory are kept (Mahalanobis distance of the student's
    features from its training set); with one candidate per trajectory nothing is selected.
    ``temperatures`` in K are dealt out to the starts in turn; empty: each start's own, and 300 K
    where it has none.
    ``starts_per_molecule`` are drawn at random among the frames that there are.
    """

    driver: str
    steps: int = setting(150, "Of 1 fs, from each start.", low=1)
    every: int = 150
    keep: int = setting(1, "Most novel candidates to keep of each trajectory.", low=1)
    temperatures: tuple[float, ...] = ()
    starts_per_molecule: int = setting(3, low=1)
    seed: int = setting(0)

    def __post_init__(self) -> None:
        refuse_out_of_bounds(self)
        if not 1 <= self.every <= self.steps:
            raise SettingsError(
                f"received every = {self.every} of {self.steps} steps; expected no more than "
                "these, and at least 1"
            )
        if any(kelvin <= 0 for kelvin in self.temperatures):
            raise SettingsError(
                f"received temperatures {self.temperatures}; expected positive ones, in K"
            )


@dataclass(frozen=True)
class ComplexSettings:
    """How many complexes to make; stored with the frames."""

    pairs: int = setting(4000, "Pairs in an oriented contact, at several distances each.", low=0)
    clusters: int = setting(1000, "Clusters of 3 to 12 molecules.", low=0)
    splits: tuple[str, ...] = ("train",)
    seed: int = setting(0)
    split_seed: int = setting(0, "As in `molecules`.")

    def __post_init__(self) -> None:
        refuse_out_of_bounds(self)
        if not self.pairs and not self.clusters:
            raise SettingsError("received 0 pairs and 0 clusters; expected not 0 of both")
