"""Settings come from the environment, and doors stay shut unless told otherwise."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from forcegate_service.settings import Settings


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCEGATE_PORT", "1234")
    monkeypatch.setenv("FORCEGATE_MAX_ATOMS", "7")
    settings = Settings()
    assert (settings.port, settings.max_atoms) == (1234, 7)
    assert Settings(port=1).port == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_consent(host: str) -> None:
    assert Settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "gpu-box"])
def test_every_other_address_does(host: str) -> None:
    with pytest.raises(ValidationError, match="allow-anonymous"):
        Settings(host=host)
    assert Settings(host=host, allow_anonymous=True).host == host


@pytest.mark.parametrize("field", ["torch_threads", "batch_edges", "max_atoms", "max_body_bytes"])
def test_limits_are_positive(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Settings(**{field: 0})


def test_one_core_is_left_for_everything_but_inference() -> None:
    assert Settings().torch_threads >= 1
