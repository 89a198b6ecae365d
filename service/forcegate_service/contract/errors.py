"""Errors of the service that never cross the wire; those that do live in the client package."""

from __future__ import annotations

from forcegate_client.errors import ForcegateError, ModelRefused, RuntimeUnavailable

__all__ = [
    "DeviceLost",
    "ModelAbsent",
    "ModelRefused",
    "RuntimeFault",
    "nobody_evaluates",
]

# About the time in which a server that has come back is found and recognised.
_LOOK_AGAIN_S = 2.0


class ModelAbsent(ModelRefused):
    """A model version that no inference server has; one may have it later."""


class RuntimeFault(ForcegateError):
    """The inference runtime failed on a whole batch."""

    default_code = "runtime_fault"
    title = "The inference runtime failed"


class DeviceLost(Exception):
    """A device that answers nobody in this process any more."""


def nobody_evaluates(reason: str = "no inference server answers") -> RuntimeUnavailable:
    """What a request hears while models cannot be evaluated."""
    return RuntimeUnavailable(
        f"a request while {reason}",
        expected="an inference runtime that answers, as GET /health/ready tells",
        action="try again after retry_after_s; the gateway looks for it all the time",
        retry_after_s=_LOOK_AGAIN_S,
    )
