"""How wrong forces are, from how far a second student is from the first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["disagreement", "force_uncertainty"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


def force_uncertainty(
    own: Float, others: Float, n_atoms: Int, *, scale: float, floor: float
) -> Float:
    """Standard deviations [N] in eV/Å of a component of forces ``own`` [N, 3].

    With d the ``disagreement`` with those of the partner it is √(``scale``² d² + ``floor``²).
    """
    found: Float = np.hypot(scale * disagreement(own, others, n_atoms), floor)
    return found


def disagreement(own: Float, others: Float, n_atoms: Int) -> Float:
    """[N] in eV/Å: by how much two models differ about an atom, and about those around it.

    The component RMS of their difference at the atom and, to the same part, over its structure: two
    models may agree about one atom by chance. ``own`` and ``others`` [N, 3]; ``n_atoms`` [B], none
    of them 0.
    """
    squared: Float = ((own - others) ** 2).mean(axis=1)
    if not len(n_atoms):
        return squared
    sums = np.add.reduceat(squared, np.cumsum(n_atoms) - n_atoms)
    found: Float = np.sqrt(0.5 * (squared + np.repeat(sums / n_atoms, n_atoms)))
    return found
