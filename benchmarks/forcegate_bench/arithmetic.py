"""The least time that a model's own matrix products take."""

from __future__ import annotations

from torch.utils.flop_counter import FlopCounterMode

from forcegate_bench.models import Inputs
from forcegate_trainer.network.potential import Potential

__all__ = ["flops"]


def flops(potential: Potential, inputs: Inputs) -> int:
    """Floating-point operations of all matrix products, energies and forces.

    Counted on the plain form of the module. What is no matrix product (the sums over edges, the
    radial functions) is not counted, so that the limit is lower than any implementation can reach.
    """
    with FlopCounterMode(display=False) as counter:
        potential(*inputs)
    return int(counter.get_total_flops())
