"""An answer belongs to its question: what does not fit what was asked is an error, no number."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx
import msgpack
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forcegate_client import AsyncClient, Client, RemoteCalculator
from forcegate_client.errors import (
    ForcegateError,
    InvalidStructure,
    PayloadTooLarge,
    ServerUnreachable,
    WrongAnswer,
)
from forcegate_client.http.verification import digest_of
from forcegate_client.relaxation import evaluator, relax_batched
from forcegate_client.retry import RetryPolicy
from forcegate_client.screening.evaluator import Evaluator
from forcegate_client.screening.gate import Gate
from forcegate_client.screening.pin import pin
from forcegate_client.structures import StructureBatch
from forcegate_client.testing import FakeServer, problem, serve
from support.loopback import Listener, answer_to, good, listening, receive

FRAMES = [molecule("H2O"), molecule("CH4"), Atoms("Fe"), molecule("CO")]
PROPERTIES = ("energy", "forces", "uncertainty")
Message = dict[str, Any]
Change = Callable[[Message], None]


def altering(change: Change) -> Callable[[httpx.Request], httpx.Response]:
    """The good answer of a fake server, changed."""

    def reply(request: httpx.Request) -> httpx.Response:
        answer = FakeServer().answer(request)
        message = msgpack.unpackb(answer.content)
        change(message)
        return httpx.Response(200, content=msgpack.packb(message), headers=answer.headers)

    return reply


def naming(**headers: str) -> Callable[[httpx.Request], httpx.Response]:
    """The good answer of a fake server, under other headers."""

    def reply(request: httpx.Request) -> httpx.Response:
        answer = FakeServer().answer(request)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.Response(200, content=answer.content, headers=dict(answer.headers) | names)

    return reply


def ask(reply: Callable[[httpx.Request], httpx.Response]) -> None:
    """Ask for ``FRAMES`` with both clients; the error of the second is that of the first."""
    transport = FakeServer(script=[reply]).transport
    error: ForcegateError | None = None
    try:
        Client("http://gateway", transport=transport).predict(
            FRAMES, "springs", "1", PROPERTIES, "partial"
        )
    except ForcegateError as found:
        error = found

    async def again() -> None:
        transport = FakeServer(script=[reply]).transport
        async with AsyncClient("http://gateway", transport=transport) as client:
            await client.predict(FRAMES, "springs", "1", PROPERTIES, "partial")

    if error is None:
        asyncio.run(again())
        return
    with pytest.raises(type(error)):
        asyncio.run(again())
    raise error


def test_a_right_answer_is_taken() -> None:
    ask(altering(lambda message: message.update(something_new=1)))


def leaf(*path: str) -> st.SearchStrategy[Change]:
    """Something else in place of what stands at ``path``."""

    def change(value: Any) -> Change:
        def set_it(message: Message) -> None:
            *folders, name = path
            for folder in folders:
                message = message[folder]
            # What is the same for Python may be another value: True and 1.
            old = message[name]
            message[name] = value if (type(value), value) != (type(old), old) else None

        set_it.__qualname__ = f"{path} = {value!r}"
        return set_it

    strange = st.one_of(
        st.none(), st.integers(-9, 9), st.text(max_size=3), st.binary(max_size=16), st.just([])
    )
    return strange.map(change)


def rows(**columns: list[int]) -> Change:
    """Whole numbers in place of those that say which structures have a row."""

    def change(message: Message) -> None:
        for name, values in columns.items():
            message["results"][name] = np.array(values, dtype="<i4").tobytes()

    return change


def one_row(order: list[int]) -> Change:
    """Structures of one atom in three rows become the rows ``order``, whole and consistent."""

    def change(message: Message) -> None:
        results = message["results"]
        index = np.frombuffer(results["index"], "<i4")
        counts = np.frombuffer(results["n_atoms"], "<i4")
        atoms = np.split(np.arange(counts.sum()), np.cumsum(counts)[:-1])
        forces = np.frombuffer(results["forces"], "<f8").reshape(-1, 3)
        chosen = np.concatenate([atoms[row] for row in order]) if order else np.zeros(0, int)
        results["forces"] = forces[chosen].tobytes()
        results["index"] = index[np.sort(order)].tobytes() if order else b""
        results["n_atoms"] = counts[order].tobytes()
        for name in ("energy", "energy_uncertainty", "max_novelty"):
            results[name] = np.frombuffer(results[name], "<f8")[order].tobytes()

    return change


@st.composite
def spoilt_columns(draw: st.DrawFn) -> Change:
    """A column that is not there, has another length, or holds what is no number."""
    name = draw(st.sampled_from(["energy", "forces", "energy_uncertainty", "max_novelty"]))
    how = draw(st.sampled_from(["gone", "shorter", "longer", "nan", "inf", "-inf"]))
    place = draw(st.integers(0, 1000))

    def change(message: Message) -> None:
        results = message["results"]
        values = np.frombuffer(results[name], "<f8").copy()
        if how == "gone":
            del results[name]
            return
        if how == "shorter":
            values = values[: place % len(values)]
        elif how == "longer":
            values = np.append(values, np.zeros(1 + place % 7))
        else:
            values[place % len(values)] = float(how)
        results[name] = values.tobytes()

    return change


CHANGES = st.one_of(
    *(leaf(name) for name in ("schema", "model", "version", "units", "results")),
    *(leaf("units", name) for name in ("energy", "forces", "energy_uncertainty", "max_novelty")),
    *(leaf("results", name) for name in ("index", "n_atoms", "energy", "forces", "problems")),
    *(leaf("results", "problems", "2") for _ in range(2)),
    leaf("results", "problems", "2").map(lambda _: lambda m: m["results"]["problems"].clear()),
    spoilt_columns(),
    spoilt_columns(),
    st.lists(st.integers(-1, 5), max_size=5)
    .filter(lambda index: index != [0, 1, 3])
    .map(lambda index: rows(index=index)),
    st.lists(st.integers(-1, 9), max_size=4)
    .filter(lambda counts: counts != [3, 5, 2])
    .map(lambda counts: rows(n_atoms=counts)),
    st.lists(st.integers(0, 2), max_size=4).filter(lambda order: order != [0, 1, 2]).map(one_row),
)


@pytest.mark.parametrize(
    "examples",
    [pytest.param(100, id="some"), pytest.param(1500, id="many", marks=pytest.mark.system)],
)
def test_no_change_of_what_an_answer_is_about_is_taken_for_an_answer(examples: int) -> None:
    @given(change=CHANGES)
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), deadline=None)
    def wrong(change: Change) -> None:
        with pytest.raises(ForcegateError) as caught:
            ask(altering(change))
        # Those would be taken for a structure's fault, and asked again in halves.
        assert not isinstance(caught.value, InvalidStructure | PayloadTooLarge)

    wrong()


def in_results(**values: Any) -> Change:
    return lambda message: message["results"].update(values)


def blamed(**values: Any) -> Change:
    return lambda message: message["results"]["problems"]["2"].update(values)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (naming(x_request_id="another"), "'another'"),
        (naming(x_request_digest="sha256:" + "0" * 64), "digest"),
        (naming(x_request_digest=""), "digest"),
        (altering(lambda m: m.update(model="painn_base")), "'painn_base'"),
        (altering(lambda m: m.update(version="2")), "'2'"),
        (altering(lambda m: m.update(digest="")), "weights"),
        (altering(lambda m: m["units"].update(energy="kcal/mol")), "kcal/mol"),
        (altering(rows(n_atoms=[3, 2, 5])), "2 atoms in structure 1"),
        (altering(rows(index=[0, 1, 4])), "structures 0, 1, 4"),
        (altering(rows(index=[0, 2, 3])), "structures 0, 2, 3"),
        (altering(one_row([])), "structures none"),
        (altering(in_results(problems={})), "one or the other"),
        (altering(in_results(stress=bytes(3 * 48))), "nobody asked"),
        (altering(in_results(warnings={"2": ["odd"]})), "remark"),
        (altering(in_results(energy_uncertainty=np.full(3, -1.0).tobytes())), "negative"),
        (altering(in_results(energy=np.full(3, np.nan).tobytes())), "not finite"),
        (altering(blamed(structure=0)), "problem of structure 0"),
        (altering(blamed(code=None)), "without code"),
        (altering(blamed(status=[])), "without code"),
    ],
)
def test_a_wrong_answer_says_what_is_wrong_with_it(
    reply: Callable[[httpx.Request], httpx.Response], says: str
) -> None:
    with pytest.raises(WrongAnswer, match=says):
        ask(reply)


def test_an_answer_that_does_not_name_its_request_is_judged_by_what_it_says() -> None:
    def unnamed(request: httpx.Request) -> httpx.Response:
        answer = FakeServer().answer(request)
        kind = {"content-type": answer.headers["content-type"]}
        return httpx.Response(200, content=answer.content, headers=kind)

    ask(unnamed)


def test_every_attempt_has_a_name_of_its_own() -> None:
    server = FakeServer(script=[httpx.Response(503)])
    client = Client("http://gateway", transport=server.transport, sleep=lambda _: None)
    client.predict(FRAMES[0])
    client.models()
    names = [request.headers["x-request-id"] for request in server.requests]
    assert len(set(names)) == 3


def test_an_error_of_another_request_is_not_taken_for_ones_own() -> None:
    def foreign(request: httpx.Request) -> httpx.Response:
        answer = problem(InvalidStructure("charge 1", structure=0))
        answer.headers["X-Request-ID"] = "another"
        return answer

    with pytest.raises(WrongAnswer):
        ask(foreign)


@pytest.mark.parametrize("place", [4, -1, 10**6])
def test_an_error_of_a_structure_that_was_not_asked_about_is_a_wrong_answer(place: int) -> None:
    with pytest.raises(WrongAnswer, match=str(place)):
        ask(lambda _: problem(InvalidStructure("charge 1", structure=place)))


def test_a_proxy_that_names_its_own_refusal_is_asked_again() -> None:
    page = httpx.Response(503, html="busy", headers={"X-Request-ID": "of-the-proxy"})
    server = FakeServer(script=[page])
    client = Client("http://gateway", transport=server.transport, sleep=lambda _: None)
    client.predict(FRAMES[0])
    assert len(server.requests) == 2


def test_the_alias_of_a_model_is_answered_under_its_real_name() -> None:
    reply = altering(lambda message: message.update(model="painn_base"))
    client = Client("http://gateway", transport=FakeServer(script=[reply]).transport)
    assert client.predict(FRAMES[0], "default").model == "painn_base"


FOREIGN = altering(rows(n_atoms=[5]))


def test_calculator_relaxation_and_screening_have_the_same_eyes() -> None:
    def client() -> Client:
        server = FakeServer(script=[FOREIGN])
        retry = RetryPolicy(give_up_after_s=0.0, first_answer_within_s=0.0)
        return Client("http://gateway", transport=server.transport, retry=retry)

    water = molecule("H2O")
    water.calc = RemoteCalculator(client=client())
    with pytest.raises(WrongAnswer):
        water.get_potential_energy()
    with pytest.raises(WrongAnswer):
        list(relax_batched([molecule("H2O")], evaluator(client(), "springs")))
    pinned = pin(
        Client("http://gateway", transport=FakeServer().transport), "springs", None, ("energy",)
    )
    evaluate = Evaluator(client(), pinned, Gate(1), patience_s=1.0, stop=threading.Event())
    with pytest.raises(WrongAnswer):
        evaluate(StructureBatch.from_atoms([molecule("H2O")]), ("energy", "forces"))


@pytest.mark.parametrize(
    "document",
    [{}, {"models": None}, {"models": [{}]}, {"models": [{"name": 1}]}, {"models": ["springs"]}],
)
def test_a_list_of_models_that_is_none_is_an_error_of_the_client(document: Any) -> None:
    server = FakeServer(script=[httpx.Response(200, json=document)])
    with pytest.raises(WrongAnswer):
        Client("http://gateway", transport=server.transport).models()


def test_a_card_of_another_version_is_not_taken_for_the_one_that_was_asked_for() -> None:
    document = {"name": "springs", "version": "2", "elements": [1]}
    server = FakeServer(script=[httpx.Response(200, json=document)] * 2)
    client = Client("http://gateway", transport=server.transport)
    assert client.model("springs")["version"] == "2"
    with pytest.raises(WrongAnswer, match="'2'"):
        client.model("springs", "1")


@pytest.mark.parametrize(
    "document",
    [{}, {"name": "springs"}, {"name": "springs", "elements": []}, {"name": "x", "elements": [1]}],
)
def test_a_card_that_is_none_or_of_another_model_is_an_error_of_the_client(document: Any) -> None:
    server = FakeServer(script=[httpx.Response(200, json=document)])
    with pytest.raises(WrongAnswer):
        Client("http://gateway", transport=server.transport).model("springs")


def test_after_a_wrong_answer_the_next_question_goes_over_another_connection() -> None:
    """What has got out of step stays out of step."""

    def mixed_up(listener: Listener, connection: socket.socket) -> None:
        head, body = answer_to(receive(connection))
        named = head + b"X-Request-ID: another\r\n"
        connection.sendall(b"%sContent-Length: %d\r\n\r\n%s" % (named, len(body), body))
        good(listener, connection)

    with listening(mixed_up, good) as listener, Client(listener.url) as client:
        with pytest.raises(WrongAnswer):
            client.predict(FRAMES[0])
        assert client.predict(FRAMES[0]).version == "1"
        assert listener.connections == 2


def test_names_and_digests_go_all_the_way_over_a_wire() -> None:
    server = FakeServer()
    with serve(server) as url, Client(url) as client:
        response = client.predict(FRAMES[0])
    assert response.version == "1"
    (request,) = server.requests
    assert server.answer(request).headers["x-request-digest"] == digest_of(request.content)


def test_what_is_no_forcegate_server_is_still_told_apart() -> None:
    with pytest.raises(ServerUnreachable, match="text/html"):
        ask(lambda _: httpx.Response(200, html="<html>It works!</html>"))
