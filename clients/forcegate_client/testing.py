"""A small fake server for tests: the wire protocol over a model of springs.

``FakeServer`` answers without any network through its ``transport``, or on a TCP port with
``serve``; what it should do before its good answers is queued in ``server.script``. The model:
every pair of atoms is bound by the spring ½ k (r − r₀)², so that energies, forces and virials are
known exactly.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from forcegate_client.errors import (
    DocumentedError,
    ForcegateError,
    InvalidStructure,
    ModelNotFound,
    PayloadTooLarge,
)
from forcegate_client.http.connection import REQUEST_ID
from forcegate_client.http.verification import REQUEST_DIGEST, digest_of
from forcegate_client.md.reports import PATH as REPORTS_PATH
from forcegate_client.messages import Predictions, PredictRequest, PredictResponse
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, decode_request, encode_response

__all__ = ["FakeClock", "FakeServer", "html_page", "problem", "serve"]

Float = npt.NDArray[np.float64]
Reply = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]

SPRING_EV_PER_A2 = 20.0
LENGTH_A = 1.5


@dataclass
class FakeServer:
    """``requests`` holds all that was asked; ``script`` the replies that come before good ones.

    Reports of runs come from threads of their own, at no moment that a test could name. They have
    no part in either: ``reports`` holds them, and ``report_reply`` is the answer to each.
    """

    script: list[Reply] = field(default_factory=list)
    version: str = "1"
    digests: dict[str, str] = field(default_factory=lambda: {"1": "sha256:one"})
    card_digest: str = "sha256:card"
    elements: frozenset[int] = frozenset({1, 6, 7, 8})
    max_atoms: int = 1000
    warnings: list[str] = field(default_factory=list)
    approval: dict[str, str] = field(
        default_factory=lambda: {"md": "approved", "relax": "approved", "screening": "approved"}
    )
    novelty: float = 1.5
    novelty_limit: float | None = 5.0
    requests: list[httpx.Request] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    report_reply: Reply = field(default_factory=lambda: httpx.Response(204))

    @property
    def transport(self) -> httpx.MockTransport:
        """What to give to ``Client(transport=…)``."""
        return httpx.MockTransport(self.handle)

    @property
    def predictions(self) -> list[PredictRequest]:
        """All predict requests received, decoded."""
        return [
            decode_request(request.content)
            for request in self.requests
            if request.url.path.endswith("/v1/predict")
        ]

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if request.url.path.endswith(REPORTS_PATH):
            self.reports.append(json.loads(request.content))
            return _given(self.report_reply, request)
        self.requests.append(request)
        if self.script:
            return _given(self.script.pop(0), request)
        return self.answer(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """The good answer, whatever the script says."""
        try:
            answer = self._route(request)
        except ForcegateError as error:
            answer = problem(error)
        answer.headers[REQUEST_ID] = request.headers.get(REQUEST_ID, "unnamed")
        if request.content:
            answer.headers[REQUEST_DIGEST] = digest_of(request.content)
        return answer

    def _route(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        _, _, named = path.partition("/v1/models/")
        histograms = {"max_novelty_999": self.novelty_limit}
        entry = {
            "name": named or "springs",
            "version": request.url.params.get("version", self.version),
            "default_version": self.version,
            "versions": sorted(self.digests),
            "digest": self.digests[self.version],
            "card_digest": self.card_digest,
            "elements": sorted(self.elements),
            "status": self.approval,
            "histograms": None if self.novelty_limit is None else histograms,
        }
        if path.endswith("/v1/predict"):
            response = self.predict(decode_request(request.content))
            return httpx.Response(
                200, content=encode_response(response), headers={"Content-Type": MEDIA_TYPE}
            )
        if path.endswith("/v1/models"):
            return httpx.Response(200, json={"models": [entry]})
        if named:
            return httpx.Response(200, json=entry)
        if path.endswith("/health/ready"):
            return httpx.Response(200, json={"ready": True})
        raise ModelNotFound(
            f"path {path}", expected="a route of the gateway", code="route_not_found"
        )

    def predict(self, request: PredictRequest) -> PredictResponse:
        """What the model of springs says.

        Raises:
            ForcegateError: as the real server would.
        """
        batch = request.structures
        version = request.version or self.version
        if version not in self.digests:
            raise ModelNotFound(f"version {version}", expected=f"one of {sorted(self.digests)}")
        if batch.total_atoms > self.max_atoms:
            raise PayloadTooLarge(f"{batch.total_atoms} atoms", expected=f"≤ {self.max_atoms}")
        problems: dict[int, ForcegateError] = {}
        for index, atoms in enumerate(batch.to_atoms()):
            strange = sorted(set(atoms.numbers.tolist()) - self.elements)
            if strange:
                problems[index] = InvalidStructure(
                    f"element {strange[0]}",
                    expected=f"elements {sorted(self.elements)}",
                    action="use another model",
                    code="element_unsupported",
                    structure=index,
                )
        if problems and request.on_error == "raise":
            raise problems[min(problems)]
        good = np.array([i for i in range(len(batch)) if i not in problems], dtype=np.int64)
        predictions = _springs(batch.select(good), request.properties, self.novelty)
        return PredictResponse(
            model=request.model,
            version=version,
            digest=self.digests[version],
            card_digest=self.card_digest,
            status=self.approval,
            predictions=replace(
                predictions,
                index=good,
                problems={index: error.to_problem() for index, error in problems.items()},
                warnings={int(index): list(self.warnings) for index in good if self.warnings},
            ),
        )


@contextmanager
def serve(server: FakeServer, port: int = 0) -> Iterator[str]:
    """Answer on a TCP port of this machine (0: a free one); yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            """Tests keep quiet."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = dict(self.headers.items())
            url = f"http://{self.headers['Host']}{self.path}"
            answer = server.handle(httpx.Request(self.command, url, headers=headers, content=body))
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Retry-After", REQUEST_ID, REQUEST_DIGEST):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

    with _Listener(("127.0.0.1", port), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_address[1]}"
        finally:
            listener.shutdown()
            listener.drop_connections()
            thread.join()


class _Listener(ThreadingHTTPServer):
    """Forgets its clients when it goes, as a process that ends does."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        self._connections: list[socket.socket] = []
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.append(request)
        super().process_request(request, client_address)

    def drop_connections(self) -> None:
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the tests."""


def _given(reply: Reply, request: httpx.Request) -> httpx.Response:
    if isinstance(reply, Exception):
        raise reply
    return reply if isinstance(reply, httpx.Response) else reply(request)


def problem(error: DocumentedError | ForcegateError) -> httpx.Response:
    """The RFC 9457 answer for an error."""
    return httpx.Response(
        error.status,
        content=json.dumps(error.to_problem()).encode(),
        headers={"Content-Type": "application/problem+json"},
    )


@dataclass
class FakeClock:
    """Time that passes only in ``sleep``; ``naps`` holds how long each was."""

    now: float = 0.0
    naps: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.naps.append(seconds)
        self.now += seconds


def html_page(status: int, headers: dict[str, str] | None = None) -> httpx.Response:
    """What a proxy says in place of the server."""
    return httpx.Response(status, html="<html>Bad Gateway</html>", headers=headers)


def _springs(batch: StructureBatch, properties: tuple[str, ...], novelty: float) -> Predictions:
    energies: list[float] = []
    forces: list[Float] = [np.zeros((0, 3))]
    stresses: list[Float] = [np.zeros((0, 6))]
    for atoms in batch.to_atoms():
        vectors = atoms.positions[None, :, :] - atoms.positions[:, None, :]
        distances = np.linalg.norm(vectors, axis=-1) + np.eye(len(atoms)) * LENGTH_A
        energies.append(float(0.25 * SPRING_EV_PER_A2 * ((distances - LENGTH_A) ** 2).sum()))
        pulls = SPRING_EV_PER_A2 * (distances - LENGTH_A) / distances
        forces.append(np.einsum("ij,ijx->ix", pulls, vectors))
        if "stress" in properties:
            virial = 0.5 * np.einsum("ij,ijx,ijy->xy", pulls, vectors, vectors)
            full = virial / atoms.get_volume()
            stresses.append(full[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]][None])
    size = len(batch)
    sure = "uncertainty" in properties
    charges = [0.01 * (atoms.numbers - atoms.numbers.mean()) for atoms in batch.to_atoms()]
    moments = [q @ atoms.positions for q, atoms in zip(charges, batch.to_atoms(), strict=True)]
    told = "charges" in properties
    return Predictions(
        index=np.arange(size),
        n_atoms=batch.n_atoms,
        energy=np.array(energies) if "energy" in properties else None,
        forces=np.concatenate(forces) if "forces" in properties else None,
        stress=np.concatenate(stresses) if "stress" in properties else None,
        energy_uncertainty=np.full(size, 0.01) if sure else None,
        max_novelty=np.full(size, novelty) if sure else None,
        charges=np.concatenate([np.zeros(0), *charges]) if told else None,
        net_charge=np.zeros(size) if told else None,
        dipole=np.reshape(moments, (-1, 3)) if "dipole" in properties else None,
    )
