"""The files that browsers load: read once, named, typed and marked for caches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fastapi import Request, Response

__all__ = ["INDEX", "PageFile", "document_files", "file_response", "page_files"]

INDEX = "index.html"
# Swagger UI, as a package carries it.
_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")

# Not left to the machine's own table, which may call a module text/plain: browsers then refuse it.
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file as it is sent; ``etag`` is that of its content, in quotes."""

    content: bytes
    content_type: str
    etag: str


@cache
def page_files() -> Mapping[str, PageFile]:
    """All files by their names: what is not among them cannot be asked for."""
    folder = files("forcegate_service.api") / "page"
    return {
        item.name: _read(item.name, item.read_bytes())
        for item in folder.iterdir()
        if item.name.rpartition(".")[2] in _TYPES
    }


@cache
def document_files() -> Mapping[str, PageFile]:
    """The files of ``/docs`` by their names, Swagger UI among them."""
    own = files("forcegate_service.api") / "documents"
    swagger = files("fastapi_swagger") / "resources"
    found = {item.name: item for item in own.iterdir() if item.name.rpartition(".")[2] in _TYPES}
    found |= {name: swagger / name for name in _SWAGGER}
    return {name: _read(name, item.read_bytes()) for name, item in found.items()}


def file_response(request: Request, file: PageFile, policy: str) -> Response:
    """``file`` for a browser, or word that the one it has is the same; ``policy`` says what the
    document may load.
    """
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        # Kept, but asked about each time: page and gateway are of one version.
        "Cache-Control": "no-cache",
        "ETag": file.etag,
    }
    if _knows(request.headers.get("if-none-match", ""), file.etag):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers | {"Content-Type": file.content_type})


def _knows(sent: str, etag: str) -> bool:
    """Whether ``If-None-Match`` names ``etag``, which proxies that compress call weak."""
    names = (name.strip().removeprefix("W/") for name in sent.split(","))
    return any(name in (etag, "*") for name in names)


def _read(name: str, content: bytes) -> PageFile:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return PageFile(content, _TYPES[name.rpartition(".")[2]], etag)
