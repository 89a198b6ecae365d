"""What a client sends and what comes back: values, order, splitting, secrets, URLs."""

from __future__ import annotations

import pickle

import httpx
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st

from forcegate_client.errors import (
    DigestChanged,
    InvalidStructure,
    PayloadTooLarge,
    ServerUnreachable,
)
from forcegate_client.http.client import Client
from forcegate_client.http.connection import Timeouts
from forcegate_client.structures import StructureBatch
from forcegate_client.testing import FakeServer, html_page, serve
from forcegate_client.wire import MEDIA_TYPE

SECRET = "fg_test_secret"


def client_of(server: FakeServer, url: str = "http://gateway", **options: object) -> Client:
    return Client(url, transport=server.transport, **options)  # type: ignore[arg-type]


def chain(n_atoms: int) -> Atoms:
    return Atoms(f"C{n_atoms}", positions=[[1.4 * i, 0.1 * i * i, 0.0] for i in range(n_atoms)])


def test_predictions_are_those_of_the_model() -> None:
    response = client_of(FakeServer()).predict(Atoms("H2", positions=[[0, 0, 0], [0, 0, 1.6]]))
    found = response.predictions
    assert found.energy == pytest.approx([0.5 * 20.0 * 0.1**2])
    assert found.forces == pytest.approx(np.array([[0, 0, 2.0], [0, 0, -2.0]]))
    assert (response.version, response.digest) == ("1", "sha256:one")


def test_a_batch_atoms_and_a_list_of_atoms_are_the_same_request() -> None:
    server = FakeServer()
    client, water = client_of(server), molecule("H2O")
    for form in (water, [water], StructureBatch.from_atoms([water])):
        client.predict(form)
    assert len({request.content for request in server.requests}) == 1


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    max_atoms=st.integers(6, 20),
)
def test_splitting_changes_neither_values_nor_order(sizes: list[int], max_atoms: int) -> None:
    frames = [chain(size) for size in sizes]
    whole = client_of(FakeServer(warnings=["odd"])).predict(frames)
    server = FakeServer(max_atoms=max_atoms, warnings=["odd"])
    parts = client_of(server).predict(frames)
    for name in ("index", "n_atoms", "energy", "forces"):
        expected, received = getattr(whole.predictions, name), getattr(parts.predictions, name)
        assert np.array_equal(expected, received)
    assert parts.predictions.warnings == whole.predictions.warnings
    assert (len(server.requests) > 1) == (sum(sizes) > max_atoms)


def test_a_proxys_own_413_splits_as_well() -> None:
    server = FakeServer([html_page(413)])
    assert len(client_of(server).predict([chain(2), chain(3)]).predictions.index) == 2


def test_one_structure_that_is_too_large_is_named() -> None:
    frames = [chain(2), chain(3), chain(30), chain(2)]
    with pytest.raises(PayloadTooLarge) as caught:
        client_of(FakeServer(max_atoms=20)).predict(frames)
    assert caught.value.structure == 2


def test_an_error_in_a_later_part_names_the_structure_of_the_whole_batch() -> None:
    frames = [chain(5), chain(5), chain(5), molecule("SiH4")]
    with pytest.raises(InvalidStructure, match="structure 3: element 14"):
        client_of(FakeServer(max_atoms=10)).predict(frames)


def test_partial_results_keep_their_place_across_parts() -> None:
    frames = [molecule("SiH4"), chain(5), chain(5), molecule("SiH4"), chain(4)]
    found = client_of(FakeServer(max_atoms=10)).predict(frames, on_error="partial").predictions
    assert found.index.tolist() == [1, 2, 4]
    assert sorted(found.problems) == [0, 3]
    assert found.problems[3]["structure"] == 3


def test_all_parts_are_answered_by_one_version_even_if_the_default_moves() -> None:
    server = FakeServer(max_atoms=5, digests={"1": "sha256:one", "2": "sha256:two"})

    def promote(request: httpx.Request) -> httpx.Response:
        answer = server.answer(request)
        server.version = "2"
        return answer

    server.script = [server.answer, promote]
    response = client_of(server).predict([chain(5), chain(5)])
    assert response.version == "1"
    assert [asked.version for asked in server.predictions][-1] == "1"


def test_weights_that_change_between_two_parts_are_refused() -> None:
    server = FakeServer(max_atoms=5)

    def replace_weights(request: httpx.Request) -> httpx.Response:
        answer = server.answer(request)
        server.digests["1"] = "sha256:other"
        return answer

    server.script = [server.answer, replace_weights]
    with pytest.raises(DigestChanged, match="sha256:other"):
        client_of(server).predict([chain(5), chain(5)])


def test_the_key_travels_as_a_bearer_token_and_shows_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FORCEGATE_API_KEY", SECRET)
    server = FakeServer([html_page(503)])
    client = client_of(server, "https://gateway", sleep=lambda _: None)
    with caplog.at_level(0):
        client.predict(chain(2))
    assert server.requests[0].headers["Authorization"] == f"Bearer {SECRET}"
    assert SECRET not in repr(client) + repr(client.connection) + caplog.text


def test_a_password_in_the_url_is_not_printed() -> None:
    client = client_of(FakeServer([html_page(404)]), "https://me:hunter2@gateway")
    with pytest.raises(ServerUnreachable) as caught:
        client.predict(chain(2))
    assert "hunter2" not in repr(client) + repr(client.connection) + str(caught.value)


@pytest.mark.parametrize("url", ["https://host/forcegate", "https://host/forcegate/"])
def test_a_path_prefix_is_kept(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCEGATE_URL", url)
    server = FakeServer()
    client = Client(transport=server.transport)
    client.predict(chain(2))
    assert client.model("springs")["digest"] == "sha256:one"
    assert [str(request.url) for request in server.requests] == [
        "https://host/forcegate/v1/predict",
        "https://host/forcegate/v1/models/springs",
    ]


@pytest.mark.parametrize("url", ["gpu-box:8000", "ftp://host", "http://", "http://[::1"])
def test_what_is_no_url_of_a_server_is_refused_at_once(url: str) -> None:
    with pytest.raises(ServerUnreachable, match="FORCEGATE_URL"):
        Client(url)


def test_every_request_carries_its_deadline_and_types() -> None:
    server = FakeServer()
    client_of(server, timeouts=Timeouts(total_s=30.0)).predict(chain(2))
    headers = server.requests[0].headers
    assert headers["X-Request-Timeout"] == "30"
    assert headers["Content-Type"] == headers["Accept"] == MEDIA_TYPE


def test_an_answer_that_trickles_is_cut_at_the_total_limit() -> None:
    now = [0.0]

    class Trickle(httpx.SyncByteStream):
        def __iter__(self):  # type: ignore[no-untyped-def]
            while True:
                now[0] += 10.0
                yield b"."

    server = FakeServer([lambda _: httpx.Response(200, stream=Trickle())])
    client = client_of(
        server, timeouts=Timeouts(total_s=60.0), clock=lambda: now[0], sleep=lambda _: None
    )
    with pytest.raises(ServerUnreachable, match="no complete answer in 60 s"):
        client.predict(chain(2))


def test_models_and_readiness() -> None:
    server = FakeServer()
    client = client_of(server)
    assert [entry["name"] for entry in client.models()] == ["springs"]
    assert client.ready()
    server.script = [html_page(503)]
    assert not client.ready()
    server.script = [httpx.ConnectError("refused")]
    assert not client.ready()


def test_a_client_can_be_sent_to_another_process() -> None:
    with serve(FakeServer()) as url, Client(url, api_key=SECRET) as client:
        assert client.ready()
        copy = pickle.loads(pickle.dumps(client))
        assert copy.ready()
        assert copy.connection == client.connection
        copy.close()
