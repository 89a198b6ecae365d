"""When a trajectory has left physics: the reasons, the limits, and what the run is stopped with."""

from __future__ import annotations

import math
from typing import Literal, get_args

from forcegate_client.errors import ForcegateError

__all__ = [
    "BLOW_UPS",
    "HOTTEST_START_K",
    "BlowUp",
    "DynamicsBlewUp",
    "EnergyJumps",
    "blow_up_of",
    "temperature_limit_k",
]

BlowUp = Literal["not_finite", "temperature", "bond", "energy"]
BLOW_UPS: tuple[BlowUp, ...] = get_args(BlowUp)

# Nothing that a potential of closed shells describes is as hot; velocities in the wrong units are.
HOTTEST_START_K = 10_000.0
# At 300 K the kinetic energy of an atom is 0.04 eV, and a sane total energy changes by 1 % of it.
JUMP_EV_PER_ATOM = 1.0
# In a large structure a hole that a few atoms fall into is little per atom. Whatever is beyond
# both of these is no fluctuation either.
JUMP_EV = 10.0
JUMP_FLUCTUATIONS = 100.0
_ENOUGH_CHANGES = 20


class DynamicsBlewUp(ForcegateError):
    """The trajectory left what physics allows; ``MDMonitor`` keeps what came before."""

    default_code = "dynamics_blew_up"
    title = "The dynamics blew up"


# Structures that a server refuses and that no run in good order asks for.
_BY_CODE: dict[str, BlowUp] = {
    "not_finite": "not_finite",
    "prediction_not_finite": "not_finite",
    "prediction_implausible": "energy",
    "atoms_too_close": "bond",
    "coordinate_out_of_range": "bond",
}


def blow_up_of(error: BaseException) -> BlowUp | None:
    """What an error that ended a run says of it; ``None`` if it says nothing."""
    return _BY_CODE.get(error.code) if isinstance(error, ForcegateError) else None


def temperature_limit_k(expected_k: float, n_dof: int) -> float:
    """The temperature that no run at ``expected_k`` has.

    Small systems fluctuate more, and a cold start may still release strain.
    """
    return 5.0 * expected_k * (1.0 + 5.0 / math.sqrt(n_dof)) + 1000.0


class EnergyJumps:
    """Tells whether a conserved energy jumped between two samples.

    It did if it changed by more than 1 eV per atom; or, once 20 changes were seen, by more than
    10 eV in all and a hundred times the largest change before.
    """

    def __init__(self, n_atoms: int) -> None:
        self._n_atoms = n_atoms
        self._last_ev = math.nan
        self._changes = 0
        self._largest_ev = 0.0

    def jump_ev(self, energy_ev: float) -> float | None:
        """The change since the last sample if it is a jump, else ``None``."""
        change = energy_ev - self._last_ev
        self._last_ev = energy_ev
        if math.isnan(change):
            return None
        if abs(change) > self._limit_ev():
            return change
        self._changes += 1
        self._largest_ev = max(self._largest_ev, abs(change))
        return None

    def _limit_ev(self) -> float:
        limit = JUMP_EV_PER_ATOM * self._n_atoms
        if self._changes < _ENOUGH_CHANGES:
            return limit
        return min(limit, max(JUMP_EV, JUMP_FLUCTUATIONS * self._largest_ev))
