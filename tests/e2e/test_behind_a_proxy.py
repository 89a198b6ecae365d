"""Behind a proxy whose connections all callers share, an answer belongs to its question."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.killable import HANG_S, KillableGateway, killable
from support.nginx import Nginx, behind_nginx
from support.raw_http import Peer

pytestmark = pytest.mark.system

ROUNDS = 1000
CLIENTS = 32
REQUESTS = 20_000
MOLECULES = 200
# What a caller may be told while servers die and come back.
AWAY = {499, 502, 503, 504}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("models")
    write_fake_model(folder)
    return folder


@pytest.fixture
def gateway(repository: Path, tmp_path: Path) -> Iterator[KillableGateway]:
    with killable(repository, tmp_path, FORCEGATE_RUNTIME="fake") as gateway:
        yield gateway


@pytest.fixture
def nginx(gateway: KillableGateway, tmp_path: Path) -> Iterator[Nginx]:
    with behind_nginx(gateway.port, tmp_path / "nginx") as nginx:
        yield nginx


def molecule(number: int) -> bytes:
    """The body of a request for one of many molecules, each with an energy of its own."""
    dice = random.Random(number)
    positions = [[k * 1.3, dice.uniform(-0.3, 0.3), 0.0] for k in range(2 + number % 5)]
    structure = {"atomic_numbers": [6] * len(positions), "positions": positions}
    return json.dumps({"model": "fake", "structures": [structure]}).encode()


@pytest.fixture(scope="module")
def energies(repository: Path) -> dict[bytes, float]:
    """What each of them is, asked one by one without a proxy."""
    found = {}
    with (
        running_gateway(Settings(model_repository=repository, runtime="fake")) as url,
        closing(http.client.HTTPConnection(url.removeprefix("http://"))) as connection,
    ):
        for number in range(MOLECULES):
            body = molecule(number)
            connection.request("POST", "/v1/predict", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
            found[body] = answer["results"][0]["energy"]
    assert len(set(found.values())) == MOLECULES
    return found


@dataclass
class Caller:
    """Asks on one connection as long as it lasts, and checks whatever it is told."""

    url: str
    energies: dict[bytes, float]
    outcomes: Counter[str] = field(default_factory=Counter)
    _connection: http.client.HTTPConnection | None = None

    def ask(self, body: bytes, name: str) -> bool:
        """Whether it was answered; a foreign answer is counted as such."""
        if self._connection is None:
            host = self.url.removeprefix("http://")
            self._connection = http.client.HTTPConnection(host, timeout=HANG_S)
        headers = {"Content-Type": "application/json", "X-Request-ID": name}
        try:
            self._connection.request("POST", "/v1/predict", body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            self.outcomes["cut off"] += 1
            return False
        if response.status in AWAY:
            self.outcomes["away"] += 1
            return False
        self.outcomes[self._judge(body, name, response, content)] += 1
        return True

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _judge(
        self, body: bytes, name: str, response: http.client.HTTPResponse, content: bytes
    ) -> str:
        if response.status != 200:
            return f"status {response.status}: {content[:200]!r}"
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        if response.getheader("X-Request-ID") != name:
            return "another's name"
        if response.getheader("X-Request-Digest") != digest:
            return "another's digest"
        answer: dict[str, Any] = json.loads(content)
        return "right" if answer["results"][0]["energy"] == self.energies[body] else "foreign"


# Read past between two requests; so long that the rest comes in a packet of its own.
_LEAD = b"\r\n" * 150_000


def smuggled(body: bytes) -> bytes:
    """An upgrade that nobody makes, with a whole prediction for its body."""
    head = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    inner = (
        _LEAD
        + f"{head}X-Request-ID: smuggled\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    outer = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Type: text/plain\r\n"
    return (
        f"GET /v1/models HTTP/1.1\r\n{outer}Content-Length: {len(inner)}\r\n\r\n".encode() + inner
    )


def test_an_upgrade_that_is_not_made_costs_nobody_else_an_answer(
    gateway: KillableGateway, tmp_path: Path, energies: dict[bytes, float]
) -> None:
    bodies = list(energies)
    # One connection behind the proxy, so that both come to use the same.
    with behind_nginx(gateway.port, tmp_path / "one", kept=1) as nginx:
        victim = Caller(nginx.url, energies)
        told: Counter[int] = Counter()
        for round_ in range(ROUNDS):
            with Peer(nginx.url) as attacker:
                attacker.send(smuggled(bodies[(7 * round_ + 3) % MOLECULES]))
                told[attacker.answer().status] += 1
            victim.ask(bodies[round_ % MOLECULES], f"victim-{round_}")
        victim.close()
    assert victim.outcomes == {"right": ROUNDS}
    assert told == {400: ROUNDS}


def many(
    nginx: Nginx, energies: dict[bytes, float], fault: Callable[[random.Random], None]
) -> Counter[str]:
    """The outcomes of so many requests of so many callers, and a fault after each tenth of them."""
    bodies = list(energies)
    done = threading.Event()
    answers = count()
    turn = threading.Event()

    def caller(number: int) -> Counter[str]:
        dice = random.Random(number)
        one = Caller(nginx.url, energies)
        answered = 0
        while answered < REQUESTS // CLIENTS:
            if one.ask(dice.choice(bodies), f"{number}-{answered}"):
                answered += 1
                if next(answers) % (REQUESTS // 10) == REQUESTS // 20:
                    turn.set()
            else:
                time.sleep(0.1)
        one.close()
        return one.outcomes

    # Beside them somebody tries to leave requests behind in connections of others.
    def attacker() -> None:
        dice = random.Random(0)
        while not done.wait(0.02):
            with suppress(OSError), Peer(nginx.url) as peer:
                peer.send(smuggled(dice.choice(bodies))).answer()

    def faults() -> None:
        dice = random.Random(1)
        while not done.is_set():
            if turn.wait(0.1):
                turn.clear()
                fault(dice)

    with ThreadPoolExecutor(CLIENTS + 2) as pool:
        others = [pool.submit(attacker), pool.submit(faults)]
        try:
            found = sum(pool.map(caller, range(CLIENTS)), Counter[str]())
        finally:
            done.set()
        for other in others:
            other.result()
    print(dict(found))
    return found


def assert_nothing_foreign(outcomes: Counter[str]) -> None:
    assert set(outcomes) <= {"right", "away", "cut off"}, outcomes
    assert outcomes["right"] == REQUESTS // CLIENTS * CLIENTS


def test_under_kills_of_gateway_and_proxy_no_answer_is_anothers(
    gateway: KillableGateway, nginx: Nginx, energies: dict[bytes, float]
) -> None:
    deaths: Counter[str] = Counter()

    def fault(dice: random.Random) -> None:
        # By turns, and the proxy more often, since it is back at once.
        victim = gateway if deaths["Nginx"] > 2 * deaths["KillableGateway"] else nginx
        victim.kill()
        time.sleep(dice.uniform(0.0, 0.3))
        victim.start()
        deaths[type(victim).__name__] += 1

    assert_nothing_foreign(many(nginx, energies, fault))
    assert deaths["KillableGateway"] >= 2, deaths
    assert deaths["Nginx"] >= 4, deaths


def test_while_gateways_drain_restart_and_reload_no_answer_is_anothers(
    gateway: KillableGateway, nginx: Nginx, energies: dict[bytes, float]
) -> None:
    turns: Counter[str] = Counter()

    def fault(dice: random.Random) -> None:
        if turns["reloads"] <= turns["drains"]:
            gateway.process.send_signal(signal.SIGHUP)
            turns["reloads"] += 1
            return
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.ended() == 0
        gateway.start()
        turns["drains"] += 1

    assert_nothing_foreign(many(nginx, energies, fault))
    assert min(turns["reloads"], turns["drains"]) >= 3, turns
