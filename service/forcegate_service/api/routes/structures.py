"""``POST /v1/structures``: the structures in a file, for whoever has no reader of his own."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request, Response

from forcegate_client.errors import PayloadTooLarge, UnsupportedMediaType
from forcegate_service.api.body import declared_length, read_body
from forcegate_service.api.deadline import Patience, requested_timeout
from forcegate_service.api.head import admit
from forcegate_service.api.openapi import STRUCTURES_REQUEST, STRUCTURES_RESPONSES
from forcegate_service.api.routes.dependencies import GatewayDependency
from forcegate_service.predict.forms import JSON
from forcegate_service.reading.files import MAX_BYTES, WITHIN_S, FileReader

__all__ = ["router"]

router = APIRouter(tags=["structures"])

_BYTES = "application/octet-stream"


@router.post(
    "/v1/structures",
    summary="The structures in SMILES, SDF, PDB, CIF and other files",
    openapi_extra=STRUCTURES_REQUEST,
    responses=STRUCTURES_RESPONSES,
    response_class=Response,
)
async def structures(request: Request, gateway: GatewayDependency, format: str) -> Response:
    """Read a file as the commands do, charges included; SMILES get hydrogens and a conformer."""
    admit(request.scope, "predict")
    received = request.headers.get("content-type", "")
    if received.partition(";")[0].strip().lower() != _BYTES:
        # Not one that pages of other origins may send without asking.
        raise UnsupportedMediaType(
            f"Content-Type {received[:80]!r}" if received else "no Content-Type",
            expected=_BYTES,
            action=f"add the header Content-Type: {_BYTES}",
        )
    reader = cast(FileReader, request.state.file_reader)
    seconds = requested_timeout(request.headers, float(WITHIN_S))
    try:
        declared_length(request.headers, MAX_BYTES)
        with gateway.bodies.holding() as take:
            async with Patience(request.receive, seconds) as patience:
                body = await read_body(request.receive, MAX_BYTES, take)
                patience.body_read()
                return Response(await reader.read(body, format), media_type=JSON)
    except PayloadTooLarge as error:
        raise PayloadTooLarge(
            error.received,
            expected=f"a file of at most {MAX_BYTES} bytes",
            action="send a part of it, or screen it with the client",
            code=error.code,
        ) from None
