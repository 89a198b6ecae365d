"""The files of the page for people: read once, named, typed and marked for caches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["INDEX", "PageFile", "page_files"]

INDEX = "index.html"

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
    folder = files("forcegate_service") / "page"
    return {
        item.name: _read(item.name, item.read_bytes())
        for item in folder.iterdir()
        if item.name.rpartition(".")[2] in _TYPES
    }


def _read(name: str, content: bytes) -> PageFile:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return PageFile(content, _TYPES[name.rpartition(".")[2]], etag)
