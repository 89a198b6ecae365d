"""What can go wrong, as one tree of exceptions shared by the server and its clients.

On the wire an error is an RFC 9457 problem document. ``ForcegateError.to_problem`` writes it and
``error_from_problem`` turns it back into the class that the server raised.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "DeadlineExceeded",
    "DigestChanged",
    "DocumentedError",
    "Forbidden",
    "ForcegateError",
    "GuardPassed",
    "InvalidStructure",
    "MalformedBody",
    "MalformedRequest",
    "MethodNotAllowed",
    "ModelNotFound",
    "ModelRefused",
    "NotAcceptable",
    "OutputUnwritable",
    "PayloadTooLarge",
    "PredictionImplausible",
    "PredictionNotFinite",
    "RuntimeUnavailable",
    "ServerFault",
    "ServerUnreachable",
    "TooManyRequests",
    "Unauthorized",
    "UnprocessableRequest",
    "UnsupportedMediaType",
    "WrongAnswer",
    "error_from_problem",
]


class ForcegateError(Exception):
    """Base of all errors that forcegate raises on purpose.

    ``code`` is stable and meant for programs; ``received``, ``expected`` and ``action`` tell a
    person what came in, what would have been right, and what to do next. ``structure`` is the
    index of the offending structure in the request, if one is to blame.
    """

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "error"
    title: ClassVar[str] = "Something went wrong"

    def __init__(
        self,
        received: str,
        *,
        expected: str = "",
        action: str = "",
        code: str | None = None,
        structure: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.code = code or self.default_code
        self.received = received
        self.expected = expected
        self.action = action
        self.structure = structure
        self.retry_after_s = retry_after_s
        super().__init__(str(self))

    def __str__(self) -> str:
        where = "" if self.structure is None else f"structure {self.structure}: "
        parts = [f"{where}{self.received}"]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.action:
            parts.append(self.action)
        return "; ".join(parts)

    def to_problem(self) -> dict[str, Any]:
        """The RFC 9457 document of this error, with only the members that are known."""
        problem: dict[str, Any] = {
            "type": f"urn:forcegate:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": str(self),
            "received": self.received,
        }
        optional = {
            "expected": self.expected or None,
            "action": self.action or None,
            "structure": self.structure,
            "retry_after_s": self.retry_after_s,
        }
        problem.update({key: value for key, value in optional.items() if value is not None})
        return problem


class DocumentedError(ForcegateError):
    """An error that the server answers with: its ``default_code`` is part of the contract."""


class MalformedBody(DocumentedError):
    """The body is not the JSON or msgpack document that its content type promises."""

    status = 400
    default_code = "malformed_body"
    title = "The request body cannot be read"


class MalformedRequest(DocumentedError):
    """What was sent is not HTTP/1.1 as this server reads it, so that its end is in doubt."""

    status = 400
    default_code = "malformed_request"
    title = "The request is not valid HTTP"


class Unauthorized(DocumentedError):
    """No key, or one that the server does not know."""

    status = 401
    default_code = "unauthorized"
    title = "A valid API key is needed"


class Forbidden(DocumentedError):
    """The key is known but lacks the scope, or the model is not approved for this use."""

    status = 403
    default_code = "forbidden"
    title = "This is not allowed"


class ModelNotFound(DocumentedError):
    """No such route, model or version."""

    status = 404
    default_code = "model_not_found"
    title = "Not found"


class MethodNotAllowed(DocumentedError):
    """The route exists but not for this HTTP method."""

    status = 405
    default_code = "method_not_allowed"
    title = "Method not allowed"


class NotAcceptable(DocumentedError):
    """None of the media types that the client accepts can be produced."""

    status = 406
    default_code = "not_acceptable"
    title = "No acceptable media type"


class PayloadTooLarge(DocumentedError):
    """More bytes or atoms than one request may hold."""

    status = 413
    default_code = "payload_too_large"
    title = "The request is too large"


class UnsupportedMediaType(DocumentedError):
    """A content type or content encoding that the server does not read."""

    status = 415
    default_code = "unsupported_media_type"
    title = "Unsupported media type"


class UnprocessableRequest(DocumentedError):
    """The document is readable but asks for something that is not defined."""

    status = 422
    default_code = "unprocessable_request"
    title = "The request cannot be computed"


class InvalidStructure(UnprocessableRequest):
    """One structure is outside what the model or physics allows."""

    default_code = "invalid_structure"
    title = "A structure is not valid"


class PredictionNotFinite(UnprocessableRequest):
    """The model's answer for one structure is not a finite number."""

    default_code = "prediction_not_finite"
    title = "The prediction is not finite"


class PredictionImplausible(UnprocessableRequest):
    """The model's answer for one structure is a number that no structure has."""

    default_code = "prediction_implausible"
    title = "The prediction is not plausible"


class TooManyRequests(DocumentedError):
    """More work is queued than the server admits; ``retry_after_s`` says when to come back."""

    status = 429
    default_code = "too_many_requests"
    title = "The server is saturated"


class RuntimeUnavailable(DocumentedError):
    """The inference runtime is away; it recovers by itself."""

    status = 503
    default_code = "runtime_unavailable"
    title = "The inference runtime is not available"


class DeadlineExceeded(DocumentedError):
    """The time that the caller allowed has passed; nothing is computed for it any more."""

    status = 504
    default_code = "deadline_exceeded"
    title = "The answer did not come in time"


class ServerFault(DocumentedError):
    """A defect in the server."""

    status = 500
    default_code = "server_fault"
    title = "The server failed"


class ServerUnreachable(ForcegateError):
    """The client could not reach the server, or what answered was not a forcegate server."""

    default_code = "server_unreachable"
    title = "The server cannot be reached"


class DigestChanged(ForcegateError):
    """The server now answers with other weights than this run began with."""

    default_code = "digest_changed"
    title = "The served model changed"


class GuardPassed(ForcegateError):
    """A run on the server has come to what its guards do not let pass; the last frame is kept."""

    default_code = "guard_passed"
    title = "A guard ended the run"


class WrongAnswer(ForcegateError):
    """An answer that is not one to what was asked: of another request, or not whole."""

    default_code = "answer_mismatch"
    title = "The answer does not belong to the question"


class ModelRefused(ForcegateError):
    """A model version that must not be used: its files do not match its card."""

    default_code = "model_refused"
    title = "The model is refused"


class OutputUnwritable(ForcegateError):
    """A file cannot be written where it should be; what was there before still is."""

    default_code = "output_unwritable"
    title = "The output cannot be written"


def _documented(base: type[DocumentedError]) -> list[type[DocumentedError]]:
    found = [base]
    for child in base.__subclasses__():
        found.extend(_documented(child))
    return found


# Codes that belong to a structure, for which the code alone does not name the class.
_BY_STATUS_WITH_STRUCTURE = {422: InvalidStructure}


# No server is away for longer by plan, and nobody can sleep for ever.
_LONGEST_ASKED_S = 3600.0


def asked_wait_s(value: object) -> float | None:
    """The wait that a server asks for: a number of seconds, of which at most an hour counts."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return float(min(max(value, 0), _LONGEST_ASKED_S))


def error_from_problem(problem: dict[str, Any], status: int) -> ForcegateError:
    """The exception that a problem document describes.

    The class is found by ``code``, else by ``status``; a document that is neither becomes
    ``ServerFault`` for 5xx and ``UnprocessableRequest`` otherwise.
    """
    code = str(problem.get("code", ""))
    classes = _documented(DocumentedError)[1:]
    structure = problem.get("structure")
    by_code = next((cls for cls in classes if cls.default_code == code), None)
    by_status = next((cls for cls in classes if cls.status == status), None)
    fallback = ServerFault if status >= 500 else UnprocessableRequest
    chosen = by_code or by_status or fallback
    if by_code is None and isinstance(structure, int):
        chosen = _BY_STATUS_WITH_STRUCTURE.get(status, chosen)
    return chosen(
        str(problem.get("received") or problem.get("detail") or problem.get("title") or status),
        expected=str(problem.get("expected", "")),
        action=str(problem.get("action", "")),
        code=code or None,
        structure=structure if isinstance(structure, int) else None,
        retry_after_s=asked_wait_s(problem.get("retry_after_s")),
    )
