"""The forms of bodies: JSON for people, msgpack for programs, XYZ for files that lie about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from forcegate_client.checks.structures import Problems
from forcegate_client.messages import PredictRequest, PredictResponse
from forcegate_client.wire import MEDIA_TYPE as MSGPACK
from forcegate_client.wire import decode_request, encode_response
from forcegate_service.predict.json_answer import write_json
from forcegate_service.predict.json_request import read_json
from forcegate_service.settings import Settings

__all__ = ["JSON", "MSGPACK", "XYZ", "Form", "read", "write"]

Form = Literal["application/json", "application/msgpack", "chemical/x-xyz"]
JSON: Final = "application/json"
XYZ: Final = "chemical/x-xyz"


def read(
    body: bytes, form: Form, query: bytes, settings: Settings
) -> tuple[PredictRequest, Problems]:
    """The request in ``body``, and what is wrong with its structures as far as that is known.

    ``query`` is that of the URL, for forms that have no place for what is asked.

    Raises:
        ForcegateError: if it is no request, or a larger one than may be asked.
    """
    if form == JSON:
        return read_json(body, settings)
    if form == XYZ:
        # Imported here because the readers of files bring scipy by way of ASE.
        from forcegate_service.predict.xyz_request import read_xyz

        return read_xyz(body, query, settings)
    request = decode_request(
        body, max_structures=settings.max_structures, max_atoms=settings.max_atoms
    )
    return request, {}


def write(response: PredictResponse, ids: Sequence[str] | None, form: Form) -> bytes:
    """The body of an answer; JSON names structures by the ``ids`` that the request gave them."""
    return write_json(response, ids) if form == JSON else encode_response(response)
