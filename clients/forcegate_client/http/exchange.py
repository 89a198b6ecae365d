"""What a client asks of a server and how it reads the answers, whatever carries them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.electrons import electrons_of
from forcegate_client.errors import (
    ForcegateError,
    MalformedBody,
    ServerUnreachable,
    UnprocessableRequest,
    WrongAnswer,
)
from forcegate_client.http.answers import Answer, read_json, through
from forcegate_client.http.connection import Connection, Timeouts, shown
from forcegate_client.http.http1 import Target
from forcegate_client.http.verification import check_predictions
from forcegate_client.messages import DEFAULT_MODEL, OnError, PredictRequest, PredictResponse
from forcegate_client.retry import Transient
from forcegate_client.runs import RUN_PATHS, Task
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, decode_response
from forcegate_client.wire.run_records import RECORDS

__all__ = [
    "Asked",
    "asked",
    "card_in",
    "cut_off",
    "models_in",
    "page",
    "predict_target",
    "prediction_in",
    "readable",
    "require_type",
    "runs_target",
]

Int = npt.NDArray[np.int64]


def predict_target(connection: Connection, timeouts: Timeouts) -> Target:
    """Where predictions are asked for."""
    return Target(
        "POST",
        connection.endpoint("/v1/predict"),
        {
            **connection.headers(),
            "Content-Type": MEDIA_TYPE,
            "Accept": MEDIA_TYPE,
            "X-Request-Timeout": f"{timeouts.total_s:g}",
        },
    )


def runs_target(connection: Connection, task: Task) -> Target:
    """Where runs are asked for; how long one takes is for nobody to bound."""
    return Target(
        "POST",
        connection.endpoint(RUN_PATHS[task]),
        {**connection.headers(), "Content-Type": MEDIA_TYPE, "Accept": RECORDS},
    )


def page(connection: Connection, path: str, **query: str | None) -> Target:
    """A document of the server; parameters that are ``None`` are left out."""
    headers = {**connection.headers(), "Accept": "application/json"}
    known = {name: value for name, value in query.items() if value is not None}
    url = connection.endpoint(path)
    return Target("GET", url.copy_merge_params(known) if known else url, headers)


@dataclass(frozen=True)
class Asked:
    """The request that the arguments of ``predict`` describe.

    ``places`` [B] are those of its structures among all that were given; ``unsaid`` has the
    problems of the others, whose charge or spin cannot be put into a request.
    """

    request: PredictRequest
    places: Int
    unsaid: Mapping[int, ForcegateError]

    def answered(self, response: PredictResponse) -> PredictResponse:
        """``response``, to ``request``, as one to all structures that were given."""
        if not self.unsaid:
            return response
        found, places = response.predictions, self.places.tolist()
        problems = {places[b]: p | {"structure": places[b]} for b, p in found.problems.items()}
        problems |= {place: error.to_problem() for place, error in self.unsaid.items()}
        predictions = replace(
            found,
            index=self.places[found.index],
            problems={place: problems[place] for place in sorted(problems)},
            warnings={places[b]: texts for b, texts in found.warnings.items()},
        )
        return replace(response, predictions=predictions)


def asked(
    structures: StructureBatch | Atoms | Sequence[Atoms],
    model: str,
    version: str | None,
    properties: Sequence[str],
    on_error: OnError,
    ids: Sequence[str] | None,
) -> Asked:
    """What to ask, and of which of the structures.

    Raises:
        InvalidStructure: if a charge or spin cannot be read, unless ``on_error`` is ``partial``.
        UnprocessableRequest: if there is not one id for each structure.
    """
    batch, places, unsaid = _as_batch(structures, on_error)
    request = PredictRequest(
        structures=batch,
        model=model,
        version=version,
        properties=tuple(properties),
        on_error=on_error,
        ids=None if ids is None else _ids_of(ids, places, len(batch) + len(unsaid)),
    )
    return Asked(request, places, unsaid)


def prediction_in(answer: Answer, target: Target, request: PredictRequest) -> PredictResponse:
    """The response in a successful answer from ``target``, which is one to ``request``.

    Raises:
        ServerUnreachable: if it is of another media type.
        WrongAnswer: if it cannot be read, or does not fit ``request``.
    """
    require_type(answer, MEDIA_TYPE, target)
    with readable():
        response = decode_response(answer.content)
    check_predictions(response, request)
    return response


def require_type(answer: Answer, media_type: str, target: Target) -> None:
    """Return if a successful ``answer`` is of ``media_type``.

    Raises:
        ServerUnreachable: if it is of another one.
    """
    if answer.content_type != media_type:
        raise ServerUnreachable(
            f"an answer of type {answer.content_type!r} from {shown(target.url)}"
            f"{through(answer.proxy)}",
            expected=media_type,
            action="check that the URL is that of a forcegate server",
        )


@contextmanager
def readable() -> Iterator[None]:
    """What is read within is an answer.

    Raises:
        WrongAnswer: if it cannot be read.
    """
    try:
        yield
    except (MalformedBody, UnprocessableRequest) as error:
        # Their classes speak of requests: whoever catches those would blame a structure.
        raise WrongAnswer(
            error.received,
            expected=error.expected,
            action="check the URL, what stands before the server, and its version",
            code="answer_unreadable",
        ) from error


def cut_off(target: Target) -> Transient:
    """What to raise for a stream of records that has ended without its last one."""
    return Transient(
        ServerUnreachable(
            f"a run that was cut off by {shown(target.url)}",
            expected="records up to a summary",
            action="check the network and the server's log",
        )
    )


def models_in(answer: Answer) -> list[dict[str, Any]]:
    """The models in an answer of ``/v1/models``.

    Raises:
        WrongAnswer: if it is something else.
    """
    models = read_json(answer).get("models")
    if not isinstance(models, list) or not all(map(_is_entry, models)):
        raise _not_models("something else than a list of models", "name, versions, digest, status")
    return models


def card_in(answer: Answer, name: str, version: str | None) -> dict[str, Any]:
    """The card in an answer of ``/v1/models/{name}``, of ``version`` if one was named.

    Raises:
        WrongAnswer: if it is something else, or the card of another model or version.
    """
    card = read_json(answer)
    elements = card.get("elements")
    if not isinstance(elements, list) or not elements or not all(type(z) is int for z in elements):
        raise _not_models("something else than a card", "the elements of the model")
    if card.get("name") != name and name != DEFAULT_MODEL:
        raise _not_models(f"the card of {card.get('name')!r:.80}", f"that of {name!r}")
    if version is not None and card.get("version") != version:
        raise _not_models(
            f"the card of version {card.get('version')!r:.80}", f"that of version {version!r}"
        )
    return card


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    # None where the operator has to promote a version first.
    default = entry.get("default_version") or ""
    texts = (entry.get("name"), default, entry.get("digest"))
    versions, status = entry.get("versions"), entry.get("status")
    if not isinstance(versions, list) or not isinstance(status, dict):
        return False
    return all(isinstance(text, str) for text in (*texts, *versions, *status, *status.values()))


def _not_models(received: str, expected: str) -> WrongAnswer:
    return WrongAnswer(
        received,
        expected=expected,
        action="check the URL, what stands before the server, and its version",
        code="answer_unreadable",
    )


def _ids_of(ids: Sequence[str], places: Int, size: int) -> tuple[str, ...]:
    if len(ids) != size:
        raise UnprocessableRequest(
            f"{len(ids)} ids for {size} structures",
            expected="one id for each structure",
            action="correct ids or leave them out",
            code="shape_mismatch",
        )
    return tuple(ids[place] for place in places.tolist())


def _as_batch(
    structures: StructureBatch | Atoms | Sequence[Atoms], on_error: OnError
) -> tuple[StructureBatch, Int, dict[int, ForcegateError]]:
    if isinstance(structures, StructureBatch):
        return structures, np.arange(len(structures)), {}
    given = [structures] if isinstance(structures, Atoms) else list(structures)
    unsaid: dict[int, ForcegateError] = {}
    if on_error == "partial":
        for place, atoms in enumerate(given):
            try:
                electrons_of(atoms)
            except ForcegateError as error:
                error.structure = place
                unsaid[place] = error
    places = [place for place in range(len(given)) if place not in unsaid]
    batch = StructureBatch.from_atoms([given[place] for place in places])
    return batch, np.array(places, dtype=np.int64), unsaid
