"""Errors of the service that never cross the wire; those that do live in the client package."""

from __future__ import annotations

from forcegate_client.errors import ForcegateError

__all__ = ["CompilationFailed", "ModelRefused", "RuntimeFault"]


class ModelRefused(ForcegateError):
    """A model version that must not be served: its files do not match its card."""

    default_code = "model_refused"
    title = "The model is refused"


class RuntimeFault(ForcegateError):
    """The inference runtime failed on a whole batch."""

    default_code = "runtime_fault"
    title = "The inference runtime failed"


class CompilationFailed(ForcegateError):
    """A package could not be built, or is not to be trusted; TorchScript serves then."""

    default_code = "compilation_failed"
    title = "The model is not compiled"
