"""Settings come from the environment, and doors stay shut unless told otherwise."""

from __future__ import annotations

from pathlib import Path

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
    with pytest.raises(ValidationError, match=r"keys create.*keys-file.*allow-anonymous"):
        Settings(host=host)
    assert Settings(host=host, allow_anonymous=True).host == host
    assert Settings(host=host, keys_file="keys.json").host == host


@pytest.mark.parametrize("field", ["torch_threads", "batch_edges", "max_atoms", "max_body_bytes"])
def test_limits_are_positive(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Settings(**{field: 0})


@pytest.mark.parametrize("field", ["batch_target_s", "queue_budget_s", "request_timeout_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_times_are_positive_and_finite(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=field):
        Settings(**{field: value})


def test_inference_may_take_as_long_as_the_largest_structure() -> None:
    with pytest.raises(ValidationError, match=r"FORCEGATE_MAX_STRUCTURE_S 10 .* expected a longer"):
        Settings(inference_timeout_s=10.0)
    assert Settings(inference_timeout_s=10.0, max_structure_s=9.0).inference_timeout_s == 10.0


@pytest.mark.parametrize(
    ("given", "missing"), [("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")]
)
def test_a_certificate_needs_its_key_and_a_key_its_certificate(given: str, missing: str) -> None:
    with pytest.raises(ValidationError, match=f"set FORCEGATE_{missing.upper()} as well"):
        Settings(**{given: "some.pem"})
    both = Settings(**{given: "some.pem", missing: "other.pem"})
    assert getattr(both, missing) == Path("other.pem")


def test_digests_are_pinned_by_model_and_version() -> None:
    one, two = "sha256:" + "1" * 64, "sha256:" + "2f" * 32
    text = f"painn_base/1={one}, painn_tiny/12={two},painn_base/1={one},"
    assert Settings(model_digests=text).pinned_digests == {
        "painn_base/1": one,
        "painn_tiny/12": two,
    }
    assert Settings().pinned_digests == Settings(model_digests="").pinned_digests == {}


@pytest.mark.parametrize(
    "pin",
    [
        "painn_base",
        "painn_base=sha256:" + "1" * 64,
        "painn_base/1=" + "1" * 64,
        "painn_base/1=sha256:" + "1" * 63,
        "painn_base/1=sha256:" + "G" * 64,
        "painn_base/newest=sha256:" + "1" * 64,
        "../1=sha256:" + "1" * 64,
    ],
)
def test_a_pin_that_names_no_version_or_digest_is_quoted(pin: str) -> None:
    with pytest.raises(ValidationError, match="<model>/<version>=sha256:") as caught:
        Settings(model_digests=f"good/1=sha256:{'1' * 64},{pin}")
    assert repr(pin) in str(caught.value)


def test_two_digests_of_one_version_contradict_each_other() -> None:
    with pytest.raises(ValidationError, match="two digests of a/1"):
        Settings(model_digests=f"a/1=sha256:{'1' * 64},a/1=sha256:{'2' * 64}")


def test_approvals_are_uses_that_models_are_validated_for() -> None:
    assert Settings(require_approval="md, relax").required_approvals == {"md", "relax"}
    assert (
        Settings().required_approvals == Settings(require_approval="").required_approvals == set()
    )
    with pytest.raises(ValidationError, match="'cooking'; expected some of md, relax, screening"):
        Settings(require_approval="md,cooking")


def test_one_core_is_left_for_everything_but_inference() -> None:
    assert Settings().torch_threads >= 1
