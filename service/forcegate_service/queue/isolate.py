"""When a batch fails, find the structures that are to blame and serve the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from forcegate_client.errors import ForcegateError, InvalidStructure, RuntimeUnavailable
from forcegate_service.contract.reference import reference_graph
from forcegate_service.contract.runtime import LoadedRuntime, ModelOutput
from forcegate_service.contract.structures import Structures, slice_structures

__all__ = ["Faults", "evaluate_isolated"]

logger = logging.getLogger(__name__)

# Structure index → what its evaluation ended with.
Faults = dict[int, ForcegateError]


def evaluate_isolated(
    runtime: LoadedRuntime, structures: Structures, failed: bool = False
) -> tuple[ModelOutput, Faults]:
    """Evaluate ``structures``; where that fails, halve it until only the offenders fail.

    The rows of structures that failed are NaN. All together may have ``failed`` already; a single
    one is tried again then, because it may be innocent.

    Raises:
        RuntimeUnavailable: if nobody is there to evaluate anything.
    """
    output, faulty = (_halved if failed else _bisect)(runtime, structures)
    return output, _blame(runtime, faulty) if faulty else {}


def _bisect(runtime: LoadedRuntime, structures: Structures) -> tuple[ModelOutput, list[int]]:
    size = len(structures.n_atoms)
    try:
        return runtime.evaluate(structures), []
    except RuntimeUnavailable:
        # Nobody was there to fail: halves would fare no better, and no structure is to blame.
        raise
    except Exception:
        # Whatever a runtime raises, the structures beside the offender deserve their answer.
        if size == 1:
            logger.exception("the runtime failed on a structure of %d atoms", structures.n_atoms[0])
            return _nothing(structures, runtime.card.charges), [0]
    return _halved(runtime, structures)


def _halved(runtime: LoadedRuntime, structures: Structures) -> tuple[ModelOutput, list[int]]:
    size = len(structures.n_atoms)
    middle = size // 2
    if not middle:
        return _bisect(runtime, structures)
    left, left_faults = _bisect(runtime, slice_structures(structures, 0, middle))
    right, right_faults = _bisect(runtime, slice_structures(structures, middle, size))
    return ModelOutput.joined([left, right]), left_faults + [
        middle + index for index in right_faults
    ]


def _blame(runtime: LoadedRuntime, faulty: Sequence[int]) -> Faults:
    """The structures are to blame only if the runtime still answers for a known good one."""
    try:
        runtime.evaluate(reference_graph(runtime.card))
    except Exception:
        logger.exception("the runtime fails on the reference structure too")
        return {
            index: RuntimeUnavailable(
                "the model fails even on its reference structure",
                expected="a working inference runtime",
                action="try again later; the server's log has the reason",
                retry_after_s=1.0,
            )
            for index in faulty
        }
    return {
        index: InvalidStructure(
            "a structure on which the model fails",
            expected="a structure that the model can evaluate",
            action="look at its geometry; the others of the batch are not affected",
            code="prediction_failed",
        )
        for index in faulty
    }


def _nothing(structures: Structures, charges: bool) -> ModelOutput:
    n_structures, n_atoms = len(structures.n_atoms), len(structures.atomic_numbers)
    return ModelOutput(
        energy=np.full(n_structures, np.nan),
        forces=np.full((n_atoms, 3), np.nan),
        virial=np.full((n_structures, 3, 3), np.nan),
        energy_uncertainty=np.full(n_structures, np.nan),
        atom_novelty=np.full(n_atoms, np.nan),
        charges=np.full(n_atoms, np.nan) if charges else None,
    )
