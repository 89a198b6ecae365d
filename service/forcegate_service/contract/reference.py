"""The card's reference structure: a digest proves what lies on a disk, this what was loaded."""

from __future__ import annotations

import numpy as np

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_service.contract.runtime import ModelOutput

__all__ = ["compare_with_card", "reference_graph"]

# Float32 networks differ between machines in the last digits; other weights differ by far more.
_TOLERANCE_EV = 2e-3


def reference_graph(card: ModelCard) -> Graph:
    """What a model is asked to be recognised by."""
    return build_graph(card.reference.batch(), *card.reach)


def compare_with_card(card: ModelCard, output: ModelOutput) -> None:
    """Hold the answer for ``reference_graph`` against the card's.

    Raises:
        ModelRefused: if they differ.
    """
    reference = card.reference
    energy_error = abs(float(output.energy[0]) - reference.energy)
    force_error = float(np.abs(output.forces - np.array(reference.forces)).max(initial=0.0))
    # Written so that NaN is a mismatch too.
    if not (energy_error <= _TOLERANCE_EV and force_error <= _TOLERANCE_EV):
        raise ModelRefused(
            f"reference energy off by {energy_error:.2g} eV, forces by {force_error:.2g} eV/Å",
            expected=f"the answers in the card within {_TOLERANCE_EV} eV and eV/Å",
            action="export the model again, or load the weights that belong to this card",
        )
