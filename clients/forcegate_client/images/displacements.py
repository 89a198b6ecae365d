"""A structure with each coordinate moved back and forth, and the Hessian that follows.

Central differences of forces: H[i, j] = −(F_j(x_i + δ) − F_j(x_i − δ)) / 2δ, and of the dipole
likewise. Their error is of second order in δ, and the rounding of forces over 2δ.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from forcegate_client.messages import Predictions, PredictResponse
from forcegate_client.structures import StructureBatch

__all__ = ["DISPLACEMENT_A", "HESSIAN_UNITS", "Hessian", "displaced", "hessian_from"]

Float = npt.NDArray[np.float64]

DISPLACEMENT_A = 0.005
HESSIAN_UNITS = {
    "energy": "eV",
    "forces": "eV/Å",
    "hessian": "eV/Å²",
    "dipole_derivatives": "e",
    "displacement": "Å",
    "asymmetry": "eV/Å²",
}


@dataclass(frozen=True)
class Hessian:
    """Second derivatives of the energy of one structure of N atoms, and what else was learnt.

    ``matrix`` [3N, 3N] in eV/Å², symmetric, by atom and then by x, y, z; ``asymmetry`` is by how
    much its halves differed at most before. ``energy`` in eV and ``forces`` [N, 3] in eV/Å are
    those of the structure itself. ``dipole_derivatives`` [3N, 3] in e are ``None`` of models
    without charges and of what is periodic. ``max_novelty`` and ``warnings`` are those of the
    structure itself.
    """

    matrix: Float
    energy: float
    forces: Float
    dipole_derivatives: Float | None
    asymmetry: float
    displacement: float
    model: str
    version: str
    digest: str
    card_digest: str = ""
    status: dict[str, str] = field(default_factory=dict)
    max_novelty: float | None = None
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Its JSON document: the answer of ``POST /v1/hessian``."""
        slopes = self.dipole_derivatives
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "forces": self.forces.tolist(),
            "hessian": self.matrix.tolist(),
            "dipole_derivatives": None if slopes is None else slopes.tolist(),
            "units": HESSIAN_UNITS,
        }


_PLAIN = (
    *("model", "version", "digest", "card_digest", "status", "energy", "displacement"),
    *("asymmetry", "max_novelty", "warnings"),
)


def displaced(structure: StructureBatch, by: float) -> StructureBatch:
    """[1 + 6N] structures: the given one, then each coordinate moved by + and − ``by`` Å."""
    size = 3 * structure.total_atoms
    steps = np.zeros((1 + 2 * size, size))
    coordinate = np.arange(size)
    steps[1 + 2 * coordinate, coordinate] = by
    steps[2 + 2 * coordinate, coordinate] = -by
    copies = structure.select(np.zeros(1 + 2 * size, dtype=np.int64))
    return replace(copies, positions=copies.positions + steps.reshape(-1, 3))


def hessian_from(response: PredictResponse, by: float) -> Hessian:
    """What ``response`` says about all structures of ``displaced``."""
    found: Predictions = response.predictions
    assert found.energy is not None
    assert found.forces is not None
    forces = found.forces.reshape(len(found.energy), -1)
    raw = -_slopes(forces, by)
    return Hessian(
        matrix=(raw + raw.T) / 2.0,
        energy=float(found.energy[0]),
        forces=np.array(forces[0]).reshape(-1, 3),
        dipole_derivatives=None if found.dipole is None else _slopes(found.dipole, by),
        asymmetry=float(abs(raw - raw.T).max()),
        displacement=by,
        model=response.model,
        version=response.version,
        digest=response.digest,
        card_digest=response.card_digest,
        status=dict(response.status),
        max_novelty=None if found.max_novelty is None else float(found.max_novelty[0]),
        warnings=list(found.warnings.get(0, [])),
    )


def _slopes(values: Float, by: float) -> Float:
    """[3N, K] of ``values`` [1 + 6N, K]."""
    found: Float = (values[1::2] - values[2::2]) / (2.0 * by)
    return found
