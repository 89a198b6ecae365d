"""Keys that end, and keys that may ask for so much an hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from forcegate_client.errors import TooManyRequests, Unauthorized
from forcegate_client.testing import FakeClock
from forcegate_service.api.access.caller import Access
from forcegate_service.api.access.keyfile import create_key
from forcegate_service.api.access.keyring import KeyRing
from forcegate_service.api.access.quotas import Quotas
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client

HOUR_S = 3600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.mark.parametrize(("hours", "valid"), [(-1, False), (1, True)])
def test_a_key_is_refused_from_its_end_on(path: Path, hours: int, valid: bool) -> None:
    end = datetime.now(UTC) + timedelta(hours=hours)
    key = create_key(path, "Ada", ["predict"], expires=end)
    access = Access(KeyRing(path), allow_anonymous=False)
    headers = {"authorization": f"Bearer {key}"}
    if valid:
        assert access.identify(headers).id in key
        return
    with pytest.raises(Unauthorized, match=f"expired on {end:%Y-%m-%d}"):
        access.identify(headers)


def test_a_quota_is_an_hours_worth_and_fills_evenly() -> None:
    clock = FakeClock()
    quotas = Quotas(clock)
    quotas.require("ada", 100)
    # The last request may take more than is left, and the next waits the longer.
    quotas.charge("ada", 100, 130)
    with pytest.raises(TooManyRequests) as refused:
        quotas.require("ada", 100)
    assert refused.value.code == "quota_exceeded"
    # 31 structures until there is one.
    assert refused.value.retry_after_s == pytest.approx(0.31 * HOUR_S)
    quotas.require("grace", 100)
    clock.sleep(0.31 * HOUR_S + 1.0)
    quotas.require("ada", 100)
    clock.sleep(10 * HOUR_S)
    quotas.charge("ada", 100, 100)
    with pytest.raises(TooManyRequests):
        quotas.require("ada", 100)


@pytest.mark.anyio
async def test_a_key_that_used_up_its_quota_is_told_when_to_come_back_and_others_go_on(
    tmp_path: Path, path: Path
) -> None:
    write_fake_model(tmp_path / "models")
    limited = create_key(path, "Ada", ["predict"], structures_per_hour=4)
    free = create_key(path, "Grace", ["predict"])
    settings = Settings(model_repository=tmp_path / "models", runtime="fake", keys_file=path)
    structure = {"atomic_numbers": [1], "positions": [[0, 0, 0]]}

    def body(count: int, model: str = "fake") -> dict[str, object]:
        return {"model": model, "structures": [structure] * count}

    async with gateway_client(settings) as client:

        async def ask(key: str, sent: dict[str, object]) -> httpx.Response:
            headers = {"Authorization": f"Bearer {key}"}
            return await client.post("/v1/predict", json=sent, headers=headers)

        # What is refused costs nothing.
        for _ in range(3):
            assert (await ask(limited, body(4, "nothing"))).status_code == 404
        assert (await ask(limited, body(3))).status_code == 200
        assert (await ask(limited, body(3))).status_code == 200
        refused = await ask(limited, body(1))
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
        # Two too many and one to come, at four an hour.
        assert 2600 < int(refused.headers["Retry-After"]) <= 2700
        assert (await ask(free, body(3))).status_code == 200
        # Looking is free.
        models = await client.get("/v1/models", headers={"Authorization": f"Bearer {limited}"})
        assert models.status_code == 200
