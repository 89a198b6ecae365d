"""An answer belongs to its question: the one place where every client makes sure of that.

Between a client and its server stand proxies, and a connection that gets out of step hands one
caller's answer to another. So each request carries a name, and the server returns that name and
the digest of the body that it answers; what it says must then fit what was asked. Whatever does
not is a ``WrongAnswer``, never a number.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from forcegate_client.errors import ForcegateError, WrongAnswer
from forcegate_client.http.answers import Answer, check_status
from forcegate_client.http.connection import REQUEST_ID, shown
from forcegate_client.messages import (
    COLUMNS_OF,
    DEFAULT_MODEL,
    PER_ATOM,
    PER_STRUCTURE,
    Predictions,
    PredictRequest,
    PredictResponse,
)
from forcegate_client.retry import Transient

__all__ = [
    "REQUEST_DIGEST",
    "blaming",
    "check_answer",
    "check_predictions",
    "digest_of",
    "new_request_id",
]

REQUEST_DIGEST = "X-Request-Digest"


def new_request_id() -> str:
    """A name that no other request has."""
    return secrets.token_hex(16)


def digest_of(body: bytes) -> str:
    """What the server calls ``body``."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def check_answer(answer: Answer, request_id: str, body: bytes | None, url: httpx.URL) -> None:
    """Return if ``answer`` is a success, and one to the request of this name and body.

    A header that is not there is no proof of anything: proxies refuse requests themselves.

    Raises:
        Transient, ForcegateError: as ``check_status``.
        WrongAnswer: if it is to another request.
    """
    try:
        check_status(answer)
    except Transient:
        # Whoever is asked to come back does so, whosever refusal it was.
        raise
    except ForcegateError:
        if answer.content_type == "application/problem+json":
            _check_echo(answer, request_id, body, url)
        raise
    _check_echo(answer, request_id, body, url)


def _check_echo(answer: Answer, request_id: str, body: bytes | None, url: httpx.URL) -> None:
    named = answer.headers.get(REQUEST_ID.lower())
    if named is not None and named != request_id:
        raise WrongAnswer(
            f"an answer to request {named[:80]!r} from {shown(url)}",
            expected=f"one to {request_id!r}",
            action="look at what stands between you and the server: it mixes up answers, or "
            f"replaces {REQUEST_ID}",
        )
    digest = answer.headers.get(REQUEST_DIGEST.lower())
    if digest is not None and digest != digest_of(body or b""):
        raise WrongAnswer(
            f"an answer to a body with digest {digest[:80]!r} from {shown(url)}",
            expected=digest_of(body or b""),
            action="look at what stands between you and the server: it mixes up answers, or "
            "changes bodies",
        )


@contextmanager
def blaming(request: PredictRequest) -> Iterator[None]:
    """Errors from within blame a structure of ``request``, or none.

    Raises:
        WrongAnswer: in place of one that blames a structure that was not asked about.
    """
    try:
        yield
    except ForcegateError as error:
        size = len(request.structures)
        if error.structure is not None and not 0 <= error.structure < size:
            raise _wrong(
                f"{error.code} of structure {error.structure}", f"one of {size} structures"
            ) from error
        raise


def check_predictions(response: PredictResponse, request: PredictRequest) -> None:
    """Return if ``response`` answers ``request``, the whole of it, and nothing else.

    Raises:
        WrongAnswer: saying what does not fit.
    """
    _check_model(response, request)
    found, size = response.predictions, len(request.structures)
    _check_places(found, size, problems_allowed=request.on_error == "partial")
    expected = request.structures.n_atoms[found.index]
    # For small arrays, several times as fast as array_equal.
    if np.count_nonzero(found.n_atoms != expected):
        first = int(np.flatnonzero(found.n_atoms != expected)[0])
        raise _wrong(
            f"{found.n_atoms[first]} atoms in structure {found.index[first]}", expected[first]
        )
    _check_columns(found, request.properties)
    for place, problem in found.problems.items():
        _check_problem(place, problem)


def _check_model(response: PredictResponse, request: PredictRequest) -> None:
    if response.model != request.model and request.model != DEFAULT_MODEL:
        raise _wrong(f"an answer of {response.model[:80]!r}", f"one of {request.model!r}")
    if request.version is not None and response.version != request.version:
        raise _wrong(
            f"an answer of {response.model} {response.version[:80]!r}",
            f"one of version {request.version!r}",
        )
    if not (response.model and response.version and response.digest):
        raise _wrong("an answer that does not say which weights it is of", "version and digest")


def _check_places(found: Predictions, size: int, *, problems_allowed: bool) -> None:
    """Each structure has a row or a problem, and not both."""
    index = found.index
    # They ascend from 0, as the wire format has it.
    whole = len(index) == size and (not size or index[-1] == size - 1)
    if whole and not found.problems and not found.warnings:
        return
    problems = np.array(sorted(found.problems), dtype=np.int64)
    if len(problems) and not problems_allowed:
        raise _wrong(f"a problem of structure {problems[0]}", "an error of the whole request")
    told = np.concatenate([index, problems])
    if len(told) != size or not np.array_equal(np.sort(told), np.arange(size)):
        raise _wrong(
            f"rows of structures {_few(index)} and problems of {_few(problems)}",
            f"one or the other for each of {size}",
        )
    foreign = found.warnings.keys() - set(index.tolist())
    if foreign:
        raise _wrong(f"a remark on structure {min(foreign)}", "remarks on those with a row")


def _check_columns(found: Predictions, properties: tuple[str, ...]) -> None:
    wanted = {name for asked in properties for name in COLUMNS_OF.get(asked, ())}
    for name, width in (PER_STRUCTURE | PER_ATOM).items():
        values: npt.NDArray[np.float64] | None = getattr(found, name)
        if values is None:
            if name in wanted and len(found.index):
                raise _wrong(f"no {name}", "all that was asked for")
            continue
        if name not in wanted:
            raise _wrong(f"{name}, which nobody asked for", f"only {', '.join(properties)}")
        rows = int(found.n_atoms.sum()) if name in PER_ATOM else len(found.index)
        if values.shape != ((rows,) if width == 1 else (rows, width)):
            raise _wrong(f"{name} of shape {values.shape}", f"{rows} rows")
        if np.count_nonzero(np.isfinite(values)) != values.size:
            raise _wrong(f"{name} that is not finite", "numbers, or a problem")
        if name in _NEVER_NEGATIVE and (values < 0.0).any():
            raise _wrong(f"a negative {name}", "a number of at least 0")


_NEVER_NEGATIVE = frozenset({"energy_uncertainty", "max_novelty", "force_uncertainty"})


def _check_problem(place: int, problem: Mapping[str, Any]) -> None:
    code, status = problem.get("code"), problem.get("status", 422)
    if not isinstance(code, str) or not code or type(status) is not int:
        raise _wrong(f"a problem of structure {place} without code", "a problem document")
    if problem.get("structure", place) != place or isinstance(problem.get("structure"), bool):
        raise _wrong(
            f"a problem of structure {problem['structure']!r:.80} in place of {place}", "its own"
        )


def _wrong(received: str, expected: object) -> WrongAnswer:
    return WrongAnswer(
        f"{received}, in answer to a prediction",
        expected=str(expected),
        action="ask again; if it repeats, check the URL, what stands before the server, and its "
        "version",
    )


def _few(places: npt.NDArray[np.int64]) -> str:
    shown_few = ", ".join(map(str, places[:10].tolist())) or "none"
    return shown_few if len(places) <= 10 else f"{shown_few}, …"
