"""A gateway over the toy model, in process, and requests to send to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_fake_model(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def settings(repository: Path) -> Settings:
    return Settings(model_repository=repository, runtime="fake")


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway_client(settings) as client:
        yield client


@pytest.fixture
def water() -> dict[str, Any]:
    return {
        "atomic_numbers": [8, 1, 1],
        "positions": [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]],
    }


@pytest.fixture
def request_body(water: dict[str, Any]) -> dict[str, Any]:
    return {"model": "fake", "structures": [water]}
