"""How wrong forces are, from how far a second student is from the first.

Two networks that were trained apart agree where the data have taught both, and disagree where
they have not. What they disagree by ranks errors better than anything that one of them knows of
itself; how large an error it stands for is calibrated on frames that neither was trained on.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from forcegate_client.force_uncertainty import force_uncertainty

__all__ = ["ForcePartner"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ForcePartner(BaseModel):
    """The partner of a version, and what their disagreement means.

    ``name``, ``version`` and ``digest``, that of its weights, are the partner's: two versions may
    be partners of each other. With d the disagreement about an atom (eV/Å), the standard deviation
    of a component of its force is √(``scale``² d² + ``floor``²); nine errors of ten are within
    1.645 of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    scale: NotNegative
    floor: NotNegative

    def sigma(self, own: Float, others: Float, n_atoms: Int) -> Float:
        """Standard deviations [N] in eV/Å for forces ``own`` and the partner's [N, 3]."""
        return force_uncertainty(own, others, n_atoms, scale=self.scale, floor=self.floor)
