"""What clients ask for: molecules in motion at 300 and 500 K."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forcegate_client.dataset import Dataset, concatenate, load_dataset, without_labels
from forcegate_wheel.division import without
from forcegate_wheel.trainer import TEACHER, run_trainer

__all__ = ["Traffic", "half_and_half", "make_traffic"]

# Runs the dynamics. Neither of the students that are watched: both are asked for the same frames,
# and those of a student that does not know the group would be of molecules falling apart.
_DRIVER = Path("model_repository/painn_tiny/2")
# From where a trajectory of the data begins, which may be a stretched or hot geometry, to a frame
# as clients' dynamics have it, and from that to the next one.
_SETTLE = 150


@dataclass(frozen=True)
class Traffic:
    """Frames of dynamics: without the group, and two waves with it. The second has labels."""

    ordinary: Dataset
    first: Dataset
    second: Dataset

    def without(self, keys: frozenset[str]) -> Traffic:
        """The frames of molecules that are none of ``keys``."""
        return Traffic(*(without(part, keys) for part in (self.ordinary, self.first, self.second)))


def make_traffic(starts: Path, folder: Path, seed: int) -> Traffic:
    """Let the molecules of a division's traffic move, from the frames in the folder ``starts``.

    Two frames of each trajectory are kept, and none is chosen for being novel.
    """
    for name, starts_per_molecule in (("ordinary", 1), ("first", 2), ("second", 2)):
        if not (folder / f"{name}.h5").is_file():
            run_trainer(
                *("explore", str(starts / f"{name}.h5"), "--out", str(folder / f"{name}.h5")),
                *("--student", str(_DRIVER), "--temperatures", "300,500", "--seed", str(seed)),
                *("--steps", str(2 * _SETTLE), "--every", str(_SETTLE), "--keep", "2"),
                *("--starts-per-molecule", str(starts_per_molecule)),
            )
    labelled = folder / "second_labelled.h5"
    if not labelled.is_file():
        files = (str(folder / "second.h5"), "--out", str(labelled))
        run_trainer("label", *files, "--teacher", TEACHER)
    return Traffic(
        load_dataset(folder / "ordinary.h5"),
        load_dataset(folder / "first.h5"),
        load_dataset(labelled),
    )


def half_and_half(ordinary: Dataset, grouped: Dataset, seed: int) -> Dataset:
    """As many frames of both as there are of the rarer, drawn at random."""
    rng = np.random.default_rng(seed)
    n = min(len(ordinary), len(grouped))
    parts = [part.select(np.sort(rng.permutation(len(part))[:n])) for part in (ordinary, grouped)]
    # Traffic is asked about and not learned from.
    return concatenate([without_labels(part) for part in parts])
