"""Do the charges of each molecule sum to its net charge?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forcegate_client.dataset import Dataset, Flag
from forcegate_trainer.data.labelling.complexes import part_charges

__all__ = ["net_charge_errors"]

Float = npt.NDArray[np.float64]

# There the molecules of a frame no longer have the charges that their names say.
_MOVED = Flag.PROTON_TRANSFER | Flag.CHARGE_TRANSFER


def net_charge_errors(dataset: Dataset, charges: Float) -> tuple[Float, int]:
    """|Σ q − Q| in e of each molecule of each frame, and how many frames were left out.

    ``charges`` [N] in e. Of a complex each part is a molecule. Frames are left out where a proton
    or the teacher's charge has moved from one part to another, or parts were not numbered.
    """
    errors: list[Float] = []
    left_out = 0
    known: dict[int, npt.NDArray[np.int64]] = {}
    for frame, molecule in enumerate(dataset.molecule_id.tolist()):
        where = dataset.atoms_of(frame)
        fragment = dataset.fragment[where]
        if "." not in dataset.molecules.smiles[molecule]:
            net = np.array([dataset.charge[frame]])
        else:
            if molecule not in known:
                known[molecule] = part_charges(dataset.molecules.smiles[molecule])
            net = known[molecule]
            if dataset.flags[frame] & _MOVED or len(net) != fragment.max() + 1:
                left_out += 1
                continue
        sums = np.bincount(fragment, weights=charges[where], minlength=len(net))
        errors.append(np.abs(sums - net))
    return np.concatenate([np.empty(0), *errors]), left_out
