"""The gateway's own description of its routes."""

from __future__ import annotations

from functools import cache
from typing import Any

from forcegate_service.api.app import create_app
from forcegate_service.settings import Settings

__all__ = ["openapi_document"]


@cache
def openapi_document() -> dict[str, Any]:
    """As ``GET /openapi.json`` answers it; nothing is loaded for it."""
    return create_app(Settings()).openapi()
