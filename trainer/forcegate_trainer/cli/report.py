"""What a dataset contains, for people."""

from pathlib import Path

import numpy as np
from rich.console import Console

from forcegate_client.dataset import Dataset, Flag, Source, Split


def describe(dataset: Dataset, path: Path, console: Console) -> None:
    """Print counts of frames, molecules, sources and reasons for dropping."""
    splits = ", ".join(
        f"{int(np.sum(dataset.split == split))} {split.name.lower()}" for split in Split
    )
    sources = ", ".join(
        f"{int(count)} {Source(code).name.lower()}"
        for code, count in zip(*np.unique(dataset.source, return_counts=True), strict=True)
    )
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(dataset.dropped.items()))
    moved = int(np.sum(dataset.flags & Flag.PROTON_TRANSFER != 0))
    console.print(
        f"{path}: {len(dataset)} frames of {len(dataset.molecules)} molecules and pairs, "
        f"{len(dataset.atomic_numbers)} atoms"
    )
    console.print(f"  splits: {splits}")
    console.print(f"  sources: {sources}")
    console.print(f"  dropped: {dropped or 'none'}")
    if dataset.is_labelled and dataset.forces is not None and len(dataset):
        rms = float(np.sqrt(np.mean(dataset.forces**2)))
        console.print(f"  force RMS {rms:.3f} eV/Å; {moved} frames with a moved proton")
