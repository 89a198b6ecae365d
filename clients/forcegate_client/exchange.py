"""What a client asks of a server and how it reads the answers, whatever carries them."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from forcegate_client.answers import Answer
from forcegate_client.connection import Connection, Timeouts, shown
from forcegate_client.errors import ServerUnreachable
from forcegate_client.http1 import Target
from forcegate_client.messages import OnError, PredictRequest, PredictResponse
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, decode_response

__all__ = ["asked", "page", "predict_target", "prediction_in"]


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


def page(connection: Connection, path: str) -> Target:
    """A document of the server."""
    headers = {**connection.headers(), "Accept": "application/json"}
    return Target("GET", connection.endpoint(path), headers)


def asked(
    structures: StructureBatch | Atoms | Sequence[Atoms],
    model: str,
    version: str | None,
    properties: Sequence[str],
    on_error: OnError,
    ids: Sequence[str] | None,
) -> PredictRequest:
    """The request that the arguments of ``predict`` describe."""
    return PredictRequest(
        structures=_as_batch(structures),
        model=model,
        version=version,
        properties=tuple(properties),
        on_error=on_error,
        ids=None if ids is None else tuple(ids),
    )


def prediction_in(answer: Answer, target: Target) -> PredictResponse:
    """The response in a successful answer from ``target``.

    Raises:
        ServerUnreachable: if it is of another media type.
    """
    if answer.content_type != MEDIA_TYPE:
        raise ServerUnreachable(
            f"an answer of type {answer.content_type!r} from {shown(target.url)}",
            expected=MEDIA_TYPE,
            action="check that the URL is that of a forcegate server",
        )
    return decode_response(answer.content)


def _as_batch(structures: StructureBatch | Atoms | Sequence[Atoms]) -> StructureBatch:
    if isinstance(structures, StructureBatch):
        return structures
    if isinstance(structures, Atoms):
        return StructureBatch.from_atoms([structures])
    return StructureBatch.from_atoms(list(structures))
