"""Try an installed engine on the students of a repository, with nothing but numpy beside it.

    python try_wheel.py REPOSITORY

Opening a version holds the engine against the answer in its model card, on every kernel that this
machine runs; one more structure is evaluated, moved and relaxed. Ends with an error if one fails,
and prints a line for each version, with the energy's bits.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from forcegate_engine import Model, integrate, kernels, relax

# A water molecule, Å.
_NUMBERS = [8, 1, 1]
_POSITIONS = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])


def main(repository: Path) -> None:
    """Try all versions."""
    folders = sorted(file.parent for file in repository.glob("*/*/model.safetensors"))
    if not folders:
        sys.exit(f"{repository}: no version with weights for the engine in it")
    for folder in folders:
        for kernel in kernels():
            Model.open(folder, kernel=kernel)
        model = Model.open(folder)
        energy = model.evaluate(_NUMBERS, _POSITIONS).energy
        at_rest = np.zeros((3, 3))
        masses = [15.999, 1.008, 1.008]
        moved = integrate(model, _NUMBERS, _POSITIONS, at_rest, masses, steps=10, timestep_fs=0.5)
        minimum = relax(model, _NUMBERS, moved.positions)
        if not minimum.converged.all():
            sys.exit(f"{folder}: water does not relax")
        print(folder.parent.name, folder.name, model.kernel, energy.tobytes().hex())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
