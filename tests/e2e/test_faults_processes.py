"""What is in flight when a process is killed or told to end is answered, and answered rightly."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read

from forcegate_client import Client, RemoteCalculator
from forcegate_client.messages import Predictions
from forcegate_client.retry import PATIENT
from forcegate_client.wire import decode_response
from support.evaluation import rms
from support.killable import HANG_S, KillableGateway, killable
from support.models import REPOSITORY

pytestmark = pytest.mark.system

ASPIRIN = REPOSITORY.parent / "examples" / "aspirin.xyz"
IN_FLIGHT = 16
# Of an energy in eV and of the RMS force: what another number of rows in a batch changes in
# TorchScript. These molecules are shaken, and single precision rounds forces by their size.
ROUNDING = 1e-6
RESTARTS = "forcegate_inference_process_restarts_total"

Float = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillableGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    shutil.copytree(REPOSITORY, folder / "models")
    # As many as wait are one batch, however long this machine takes for it.
    with killable(folder / "models", folder, FORCEGATE_BATCH_TARGET_S="60") as gateway:
        yield gateway


@pytest.fixture
def gateway(lasting: KillableGateway) -> KillableGateway:
    """Alive and well, whatever the test before has done to it."""
    if lasting.process.poll() is None:
        with closing(lasting.send([molecule("H2O")])) as connection:
            if connection.getresponse().status == 200:
                return lasting
        lasting.stop()
    lasting.start()
    return lasting


@pytest.fixture(scope="module")
def structures() -> list[Atoms]:
    """All different; each is three molecules, so that a batch of all takes some time."""
    frames = []
    for seed in range(IN_FLIGHT):
        atoms: Atoms = read(ASPIRIN)
        atoms.cell = np.diag([12.0, 12.0, 12.0])
        atoms *= (3, 1, 1)
        atoms.rattle(0.05, seed=seed)
        frames.append(atoms)
    return frames


def numbers(found: Predictions) -> Float:
    """Energy, then forces, of one structure."""
    assert found.energy is not None
    assert found.forces is not None
    return np.concatenate([found.energy, found.forces.ravel()])


def undisturbed(gateway: KillableGateway, structures: Sequence[Atoms]) -> list[Float]:
    with Client(gateway.url) as client:
        return [numbers(client.predict(atoms).predictions) for atoms in structures]


def assert_answered(waiting: Sequence[HTTPConnection], expected: Sequence[Float]) -> None:
    for connection, right in zip(waiting, expected, strict=True):
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        assert_alike(numbers(decode_response(body).predictions), right)
        connection.close()


def assert_alike(received: Float, right: Float) -> None:
    difference = np.abs(received - right)
    assert difference[0] < ROUNDING
    assert difference[1:].max() < ROUNDING * rms(right[1:])


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Only a hang takes long enough to fail here."""
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


def replaced(gateway: KillableGateway, victim: int) -> int:
    """The inference process that takes the place of ``victim``."""
    wait_until(lambda: gateway.inference_pid() not in (None, victim), "another process starts")
    pid = gateway.inference_pid()
    assert pid is not None
    return pid


def test_requests_that_wait_survive_a_kill_of_the_inference_process_and_of_the_one_after_it(
    gateway: KillableGateway, structures: list[Atoms]
) -> None:
    expected = undisturbed(gateway, structures)
    restarts = gateway.metric(RESTARTS)
    victim = gateway.freeze()
    waiting = [gateway.send([atoms]) for atoms in structures]
    gateway.has_taken_in()
    os.kill(victim, signal.SIGKILL)
    # This one is still loading what it needs.
    os.kill(replaced(gateway, victim), signal.SIGKILL)
    assert_answered(waiting, expected)
    assert gateway.metric(RESTARTS) == restarts + 2
    assert gateway.process.poll() is None
    assert_answered([gateway.send([structures[0]])], expected[:1])


def test_requests_in_one_batch_survive_a_kill_of_the_process_that_evaluates_them(
    gateway: KillableGateway, structures: list[Atoms]
) -> None:
    expected = undisturbed(gateway, structures)
    restarts = gateway.metric(RESTARTS)
    victim = gateway.freeze()
    # While the first waits for the frozen process, the others become one batch.
    first = gateway.send([structures[0]])
    gateway.has_taken_in()
    waiting = [gateway.send([atoms]) for atoms in structures]
    gateway.has_taken_in()
    gateway.thaw()
    assert_answered([first], expected[:1])
    assert not select.select([connection.sock for connection in waiting], [], [], 0)[0]
    os.kill(victim, signal.SIGKILL)
    assert_answered(waiting, expected)
    lost = re.findall(r"killed by SIGKILL, with (\d+) structures", gateway.log.read_text("utf-8"))
    assert int(lost[-1]) == IN_FLIGHT
    assert gateway.metric(RESTARTS) == restarts + 1
    assert gateway.inference_pid() != victim
    assert_answered([gateway.send([structures[0]])], expected[:1])


def test_while_a_model_cannot_be_opened_again_callers_are_told_to_come_back_and_then_answered(
    gateway: KillableGateway, structures: list[Atoms]
) -> None:
    expected = undisturbed(gateway, structures[:2])
    victim = gateway.freeze()
    waiting = [gateway.send([atoms]) for atoms in structures]
    gateway.has_taken_in()
    # A share of the network that is away for a moment.
    away = gateway.repository.with_name("away")
    gateway.repository.rename(away)
    os.kill(victim, signal.SIGKILL)
    for connection in waiting:
        response = connection.getresponse()
        assert response.status == 503, response.read()
        assert int(response.headers["Retry-After"]) >= 1
        connection.close()
    away.rename(gateway.repository)
    # The client comes back as it is told.
    for received, right in zip(undisturbed(gateway, structures[:2]), expected, strict=True):
        assert_alike(received, right)


def test_requests_in_flight_when_the_gateway_is_told_to_end_are_answered_and_it_ends_well(
    gateway: KillableGateway, structures: list[Atoms]
) -> None:
    expected = undisturbed(gateway, structures)
    inference = gateway.freeze()
    waiting = [gateway.send([atoms]) for atoms in structures]
    gateway.has_taken_in()
    gateway.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not listens(gateway.port), "the gateway stops accepting")
    gateway.thaw()
    assert_answered(waiting, expected)
    assert gateway.ended() == 0
    assert not Path(f"/proc/{inference}").exists()


def test_a_step_that_an_orderly_stop_cuts_off_is_computed_by_the_server_that_comes_after_it(
    tmp_path: Path, structures: list[Atoms]
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(seconds)

    patience = replace(PATIENT, give_up_after_s=HANG_S)
    with (
        killable(REPOSITORY, tmp_path, FORCEGATE_DRAIN_TIMEOUT_S="1") as gateway,
        Client(gateway.url, retry=patience, sleep=pause) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        atoms = structures[0].copy()
        atoms.calc = RemoteCalculator(client=client)
        expected = atoms.get_forces()
        atoms.calc.reset()
        gateway.freeze()
        step = pool.submit(atoms.get_forces)
        wait_until(lambda: gateway.metric("forcegate_admitted_seconds") > 0, "it is in flight")
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: bool(pauses) or step.done(), "it is cut off")
        gateway.thaw()
        assert gateway.ended() == 0
        gateway.start()
        np.testing.assert_array_equal(step.result(HANG_S), expected)


def test_a_server_whose_inference_hangs_ends_all_the_same(tmp_path: Path) -> None:
    with killable(REPOSITORY, tmp_path, FORCEGATE_DRAIN_TIMEOUT_S="1") as gateway:
        inference = gateway.freeze()
        with closing(gateway.send([molecule("H2O")])) as connection:
            wait_until(lambda: gateway.metric("forcegate_admitted_seconds") > 0, "it is in flight")
            gateway.process.send_signal(signal.SIGTERM)
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("Connection")) == (503, "close")
            assert gateway.ended() == 1
        wait_until(lambda: not Path(f"/proc/{inference}").exists(), "it is gone too")
        assert "something hangs" in gateway.log.read_text()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
