"""Pages of other origins: none may ask, and those that are named may."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client

pytestmark = pytest.mark.anyio

LAB = "https://lab.example.org"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type",
}


async def test_no_page_of_another_origin_may_ask_unless_it_is_named(
    settings: Settings, request_body: dict[str, Any]
) -> None:
    named = settings.model_copy(update={"cors_origins": f"{LAB}, http://localhost:3000"})
    for chosen, origin, allowed in (
        (settings, LAB, False),
        (named, LAB, True),
        (named, "http://localhost:3000", True),
        (named, "http://localhost:3001", False),
        (named, "https://lab.example.org.evil.example", False),
        (named, "null", False),
    ):
        async with gateway_client(chosen) as client:
            before = await client.options("/v1/predict", headers={"Origin": origin, **PREFLIGHT})
            answers = [
                await client.post("/v1/predict", json=body, headers={"Origin": origin})
                for body in (request_body, {})
            ]
            own = await client.post("/v1/predict", json=request_body)
        told = [answer.headers.get("access-control-allow-origin") for answer in (before, *answers)]
        assert told == [origin if allowed else None] * 3, (origin, allowed)
        assert [answer.status_code for answer in answers] == ([200, 422] if allowed else [403, 403])
        assert (before.status_code == 200) == allowed
        assert own.status_code == 200
        if allowed:
            assert "Authorization" in before.headers["access-control-allow-headers"]
            assert "X-Request-Digest" in answers[0].headers["access-control-expose-headers"]
            assert "access-control-allow-credentials" not in answers[0].headers


@pytest.mark.parametrize("text", ["*", "lab.example.org", "https://lab.example.org/page", "null"])
def test_an_origin_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="expected scheme and host"):
        Settings(cors_origins=text)
