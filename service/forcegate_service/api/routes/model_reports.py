"""``GET /v1/models/<name>/report``: how a version was judged, in words and plots."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from forcegate_client.errors import ModelNotFound
from forcegate_service.api.openapi import NOT_FOUND, NOT_READY, UNAUTHORIZED, UNREADABLE
from forcegate_service.api.routes.dependencies import GatewayDependency, caller
from forcegate_service.predict.gateway import Gateway

__all__ = ["router"]

router = APIRouter(
    tags=["models"],
    prefix="/v1/models/{name}/report",
    dependencies=[Depends(caller)],
    responses=UNAUTHORIZED | NOT_FOUND | UNREADABLE | NOT_READY,
)

_TYPES = {
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".png": "image/png",
}
_MAX_BYTES = 16_000_000
_CONTENT = {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in _TYPES.values()}
_FILE: dict[int | str, dict[str, Any]] = {200: {"description": "The file", "content": _CONTENT}}


class ReportFiles(BaseModel):
    """The files of a version's validation report; none if nobody validated it."""

    model: str
    version: str
    files: list[str]


@router.get("", summary="The files of a model's validation report")
async def list_files(
    name: str, gateway: GatewayDependency, version: str | None = None
) -> ReportFiles:
    """``report.md``, ``report.json`` and plots of ``version``, or of the default one."""
    model, number, folder = _place(gateway, name, version)
    files = await asyncio.to_thread(_files, folder)
    return ReportFiles(model=model, version=number, files=sorted(files))


@router.get("/{file}", summary="One of them", responses=_FILE, response_class=Response)
async def show_file(
    name: str, file: str, gateway: GatewayDependency, version: str | None = None
) -> Response:
    """The file as it is in the repository."""
    model, number, folder = _place(gateway, name, version)
    found = (await asyncio.to_thread(_files, folder)).get(file)
    if found is None:
        raise ModelNotFound(
            f"the file {file[:80]!r} of a report on {model} {number}",
            expected=f"one that GET /v1/models/{model}/report lists",
            action="ask for one of these",
            code="report_file_not_found",
        )
    content = await asyncio.to_thread(found.read_bytes)
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
    return Response(content, headers=headers | {"Content-Type": _TYPES[found.suffix]})


def _place(gateway: Gateway, name: str, version: str | None) -> tuple[str, str, Path]:
    gateway.require_ready()
    card = gateway.models.find(name, version).card
    return (
        card.name,
        card.version,
        gateway.settings.model_repository / card.name / card.version / "report",
    )


def _files(folder: Path) -> dict[str, Path]:
    """Plain files of known kinds: nothing that a link leads to elsewhere."""
    if not folder.is_dir():
        return {}
    return {
        path.name: path
        for path in folder.iterdir()
        if path.suffix in _TYPES
        and path.is_file()
        and not path.is_symlink()
        and path.stat().st_size <= _MAX_BYTES
    }
