"""How many frames of which kind a molecule gets."""

from dataclasses import dataclass

import numpy as np

from forcegate_client.dataset import Source
from forcegate_trainer.data.sampling.randomness import generator
from forcegate_trainer.errors import SettingsError
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

    driver: str = MMFF
    temperatures: tuple[float, ...] = (100.0, 300.0, 500.0, 1000.0)
    frames_per_molecule: int = 12
    conformers: int = 4
    seed: int = 0
    split_seed: int = 0
    splits: tuple[str, ...] = ("train", "validation", "test")
    molecules_per_split: int | None = None
    equilibration_steps: int = 200
    decorrelation_steps: int = 200
    settle: str | None = None
    settle_steps: int = 30
    distorted_share: float = 0.10
    dimer_share: float = 0.05

    def __post_init__(self) -> None:
        positive = {
            "frames_per_molecule": self.frames_per_molecule,
            "conformers": self.conformers,
            "decorrelation_steps": self.decorrelation_steps,
            "settle_steps": self.settle_steps,
        }
        for name, value in positive.items():
            if value < 1:
                raise SettingsError(f"received {name} = {value}; expected at least 1")
        if self.equilibration_steps < 0:
            raise SettingsError(
                f"received equilibration_steps = {self.equilibration_steps}; expected 0 or more"
            )
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
