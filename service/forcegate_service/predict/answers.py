"""From the model's raw output to the properties that were asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from forcegate_client.checks.charges import mismatched
from forcegate_client.errors import ForcegateError, PredictionNotFinite, RuntimeUnavailable
from forcegate_client.messages import Predictions, PredictResponse
from forcegate_client.wire.columns import columns_of
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.predict.prepare import Prepared
from forcegate_service.queue.dispatcher import Answer

__all__ = ["failures", "respond"]

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


def failures(
    prepared: Prepared, answers: Sequence[Answer], partner: Sequence[Answer] = ()
) -> dict[int, ForcegateError]:
    """The structures that were not computed as they were sent, by their index in the request.

    ``partner`` are the answers that its own are compared with, if they are.
    """
    charges = prepared.request.structures.charges
    found: dict[int, ForcegateError] = {}
    first = 0
    for microbatch, answer in zip(prepared.microbatches, answers, strict=True):
        n_atoms = microbatch.structures.n_atoms
        if answer.output.charges is not None:
            told = charges[prepared.index[first : first + len(n_atoms)]]
            for b, mismatch in mismatched(answer.output.charges, n_atoms, told).items():
                found[int(prepared.index[first + b])] = mismatch
        for b, fault in answer.faults.items():
            found[int(prepared.index[first + b])] = fault
        first += len(n_atoms)
    for k in _unanswered(partner, prepared):
        found.setdefault(
            int(prepared.index[k]),
            PredictionNotFinite(
                "a structure for which the answer of the model's partner is not a finite number",
                expected="a geometry like those the models were trained on",
                action="leave force_uncertainty out; other structures are not affected",
            ),
        )
    for index, failure in found.items():
        if not isinstance(failure, RuntimeUnavailable):
            failure.structure = index
    return found


def respond(
    prepared: Prepared,
    answers: Sequence[Answer],
    failed: dict[int, ForcegateError],
    card: ModelCard,
    remarks: Sequence[str] = (),
    partner: Sequence[Answer] = (),
) -> PredictResponse:
    """The response with everything that was asked for; ``remarks`` are about each structure.

    ``partner`` are the answers that tell how wrong forces are.
    """
    keep = None if not failed else ~np.isin(prepared.index, list(failed))
    problems = prepared.problems | failed
    return PredictResponse(
        model=card.name,
        version=card.version,
        digest=card.digest,
        card_digest=card.card_digest,
        status=dict(card.status),
        predictions=_predictions(prepared, answers, keep, problems, remarks, card, partner),
        timing={
            "queue_s": answers[0].queue_s if answers else 0.0,
            "graph_s": prepared.graph_s,
            # Of different batches: microbatches that were evaluated together took their time once.
            "inference_s": sum({answer.inference_s for answer in answers}, 0.0),
        },
    )


def _predictions(
    prepared: Prepared,
    answers: Sequence[Answer],
    keep: Bool | None,
    problems: dict[int, ForcegateError],
    remarks: Sequence[str],
    card: ModelCard,
    partner: Sequence[Answer],
) -> Predictions:
    """``keep`` [K] are the computed structures that have an answer, None if all of them have."""
    batch, wanted = prepared.request.structures, prepared.request.properties
    index = prepared.index
    n_atoms = batch.n_atoms[index]
    output = _joined([answer.output for answer in answers], card.charges)
    sigma = None
    if partner and card.force_partner is not None:
        others = np.concatenate([answer.output.forces for answer in partner])
        sigma = card.force_partner.sigma(output.forces, others, n_atoms)
        sigma = sigma if keep is None else sigma[np.repeat(keep, n_atoms)]
    if keep is not None:
        output = output.part(keep, np.repeat(keep, n_atoms))
        index, n_atoms = index[keep], n_atoms[keep]
    return Predictions(
        index=index,
        n_atoms=n_atoms,
        **columns_of(output, batch if len(index) == len(batch) else batch.select(index), wanted),
        force_uncertainty=sigma,
        problems={b: problems[b].to_problem() for b in sorted(problems)},
        warnings=_warnings(prepared, index, problems, remarks),
    )


def _warnings(
    prepared: Prepared,
    index: npt.NDArray[np.int64],
    problems: dict[int, ForcegateError],
    remarks: Sequence[str],
) -> dict[int, list[str]]:
    found = {b: list(texts) for b, texts in prepared.warnings.items() if b not in problems}
    for b in index.tolist() if remarks else ():
        found.setdefault(b, []).extend(remarks)
    return found


def _joined(outputs: Sequence[ModelOutput], charges: bool) -> ModelOutput:
    if not outputs:
        nothing = np.zeros(0)
        none = np.zeros((0, 3)), np.zeros((0, 3, 3)), nothing, nothing
        return ModelOutput(nothing, *none, charges=nothing if charges else None)
    return ModelOutput.joined(outputs)


def _unanswered(partner: Sequence[Answer], prepared: Prepared) -> list[int]:
    """The computed structures, counted from 0, for which the partner has no forces."""
    if not partner or all(answer.finite for answer in partner):
        return []
    forces = np.concatenate([answer.output.forces for answer in partner])
    counts = prepared.request.structures.n_atoms[prepared.index]
    whole = np.isfinite(forces).all(axis=1)
    return np.flatnonzero(~np.logical_and.reduceat(whole, np.cumsum(counts) - counts)).tolist()
