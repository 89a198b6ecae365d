"""How wrong a student is, in the units that its users think in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["energy_metrics", "force_metrics"]

Float = npt.NDArray[np.float64]

# eV/Å; below it the direction of a force says nothing.
_ANGLE_FLOOR = 0.1


def force_metrics(predicted: Float, reference: Float) -> dict[str, float]:
    """RMSE and MAE over components (eV/Å), R² over pooled components, angular error (degrees).

    ``predicted`` and ``reference`` [N, 3] in eV/Å. R² = 1 − Σ(error²)/Σ((F − mean F)²) with the
    mean over all components; the angle is averaged over atoms with |F| > 0.1 eV/Å.
    """
    error = predicted - reference
    spread = reference - reference.mean()
    norms = np.linalg.norm(reference, axis=1), np.linalg.norm(predicted, axis=1)
    strong = (norms[0] > _ANGLE_FLOOR) & (norms[1] > 0)
    cosine = (predicted * reference).sum(1)[strong] / (norms[0] * norms[1])[strong]
    return {
        "force_rmse": float(np.sqrt((error**2).mean())),
        "force_mae": float(np.abs(error).mean()),
        "force_r2": float(1.0 - (error**2).sum() / (spread**2).sum()),
        "force_angle": float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))).mean()),
    }


def energy_metrics(
    predicted: Float, reference: Float, n_atoms: npt.NDArray[np.int64]
) -> dict[str, float]:
    """MAE and RMSE of the energy, in meV/atom. All arguments [B], energies in eV."""
    error = 1e3 * (predicted - reference) / n_atoms
    return {
        "energy_mae_mev_per_atom": float(np.abs(error).mean()),
        "energy_rmse_mev_per_atom": float(np.sqrt((error**2).mean())),
    }
