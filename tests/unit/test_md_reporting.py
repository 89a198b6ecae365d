"""A run reports to its server in the background, and neither waits for that nor fails by it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet

from forcegate_client import Client, MDMonitor, RemoteCalculator
from forcegate_client.errors import (
    Forbidden,
    InvalidStructure,
    ModelNotFound,
    RuntimeUnavailable,
    Unauthorized,
)
from forcegate_client.md.blow_up import DynamicsBlewUp
from forcegate_client.md.ensemble import Ensemble
from forcegate_client.md.nve import draw_velocities
from forcegate_client.md.reports import ReportSender, RunReport
from forcegate_client.testing import FakeServer, html_page, problem, serve

# A guard against a thread that hangs; nothing is timed.
PATIENCE_S = 60.0


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def triangle() -> Atoms:
    """At rest between its springs."""
    return Atoms("OH2", positions=[[0, 0, 0], [1.5, 0, 0], [0.75, 0.75 * 3**0.5, 0]])


def water(server: FakeServer, timestep_fs: float = 0.5) -> VelocityVerlet:
    atoms = triangle()
    client = Client("http://fake", transport=server.transport)
    atoms.calc = RemoteCalculator(model="springs", client=client)
    draw_velocities(atoms, 300.0, np.random.default_rng(0))
    return VelocityVerlet(atoms, timestep_fs * units.fs)


def run(dynamics: VelocityVerlet, steps: int, **options: Any) -> MDMonitor:
    """A run to its end, with all its reports sent."""
    with MDMonitor(dynamics, **options) as monitor:
        dynamics.attach(monitor)
        dynamics.run(steps)
    return monitor


def report(sequence: int = 0) -> RunReport:
    return RunReport(
        run="0" * 32,
        sequence=sequence,
        model="springs",
        version="1",
        digest="sha256:one",
        ensemble=Ensemble.NVE,
        timestep_fs=0.5,
        n_atoms=3,
        duration_ps=1.0,
        target_temperature_k=None,
        mean_temperature_k=300.0,
        temperature_sigma_k=None,
        drift_mev_per_atom_per_ps=None,
        drift_standard_error_mev_per_atom_per_ps=None,
        final=False,
        blow_up=None,
    )


def test_a_run_says_what_it_was_and_no_structure(server: FakeServer) -> None:
    run(water(server), 20, temperature_K=300)
    # One when `run` ended, one when the monitor was closed.
    *_, last = server.reports
    assert 1 <= len(server.reports) <= 2
    assert last["final"] is True
    assert last["blow_up"] is None
    assert (last["model"], last["version"], last["digest"]) == ("springs", "1", "sha256:one")
    assert (last["ensemble"], last["timestep_fs"]) == ("nve", pytest.approx(0.5))
    assert last["n_atoms"] == 3
    assert last["duration_ps"] == pytest.approx(0.01)
    assert last["target_temperature_k"] == 300.0
    assert last["temperature_sigma_k"] == pytest.approx(300.0 / np.sqrt(3))
    # 10 fs tell nothing of a drift.
    assert last["drift_mev_per_atom_per_ps"] is None
    assert len(bytes.fromhex(last["run"])) == 16
    assert set(last) == set(RunReport.__dataclass_fields__)


def test_a_longer_run_tells_its_drift_and_a_langevin_run_none(server: FakeServer) -> None:
    monitor = run(water(server, timestep_fs=1.0), 1050)
    drift = monitor.drift()
    assert drift is not None
    told = server.reports[-1]
    assert told["drift_mev_per_atom_per_ps"] == pytest.approx(
        drift.slope_mev_per_atom_per_ps, abs=3 * drift.standard_error_mev_per_atom_per_ps
    )
    assert told["drift_standard_error_mev_per_atom_per_ps"] > 0.0
    atoms = water(server).atoms
    friction = 0.01 / units.fs
    options = {"fixcm": False, "rng": np.random.default_rng(0)}
    run(Langevin(atoms, 0.5 * units.fs, temperature_K=300, friction=friction, **options), 20)
    told = server.reports[-1]
    assert (told["ensemble"], told["drift_mev_per_atom_per_ps"]) == ("nvt", None)
    assert told["target_temperature_k"] == pytest.approx(300.0)
    assert told["temperature_sigma_k"] == pytest.approx(300.0 * np.sqrt(2 / 9))


def test_no_report_is_sent_twice_and_each_has_its_number(server: FakeServer) -> None:
    run(water(server), 50, report_every_s=0.0)
    numbers = [told["sequence"] for told in server.reports]
    assert numbers == sorted(set(numbers))
    assert len({told["run"] for told in server.reports}) == 1
    assert [told["final"] for told in server.reports] == [False] * (len(numbers) - 1) + [True]
    run(water(server), 5)
    assert server.reports[-1]["run"] != server.reports[0]["run"]


def test_a_failed_attempt_is_not_repeated_but_the_next_report_is_sent(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "forcegate")
    server.report_reply = httpx.ConnectError("away")
    dynamics = water(server)
    monitor = MDMonitor(dynamics)
    dynamics.attach(monitor)
    dynamics.run(5)
    assert monitor._reporter is not None
    monitor._reporter._sender.wait(PATIENCE_S)
    assert [told["sequence"] for told in server.reports] == [0]
    server.report_reply = problem(RuntimeUnavailable("away", expected="home"))
    monitor.close()
    monitor.close()
    assert [told["sequence"] for told in server.reports] == [0, 1]
    assert len([record for record in caplog.records if "not reported" in record.message]) == 1


@pytest.mark.parametrize(
    "reply",
    [
        problem(ModelNotFound("POST /v1/md/reports", code="route_not_found")),
        problem(Forbidden("a key", expected="the scope report")),
        problem(Unauthorized("no key")),
        html_page(404),
        RuntimeError("a defect of the client's"),
    ],
    ids=["no route", "no scope", "no key", "a proxy", "a defect"],
)
def test_a_server_that_takes_no_reports_is_asked_once(
    reply: Any, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "forcegate")
    server.report_reply = reply
    dynamics = water(server)
    monitor = MDMonitor(dynamics, report_every_s=0.0)
    dynamics.attach(monitor)
    dynamics.run(3)
    assert monitor._reporter is not None
    monitor._reporter._sender.wait(PATIENCE_S)
    asked = len(server.reports)
    dynamics.run(50)
    monitor.close()
    assert asked == len(server.reports) == 1
    assert monitor.n_samples == 54
    assert len([record for record in caplog.records if "not reported" in record.message]) == 1


def test_a_server_that_hangs_holds_up_nothing_and_hears_the_newest(server: FakeServer) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(request: httpx.Request) -> httpx.Response:
        asked.set()
        assert release.wait(PATIENCE_S)
        return httpx.Response(204)

    server.report_reply = hang
    dynamics = water(server)
    monitor = MDMonitor(dynamics, report_every_s=0.0)
    dynamics.attach(monitor)
    dynamics.run(10)
    assert asked.wait(PATIENCE_S)
    # The first report is still on its way through all of this.
    dynamics.run(100)
    assert not release.is_set()
    assert len(server.reports) == 1
    assert monitor.n_samples == 111
    release.set()
    monitor.close()
    monitor._reporter._sender.wait(PATIENCE_S)  # type: ignore[union-attr]
    # What waited meanwhile gave way to what was newer.
    assert [told["final"] for told in server.reports] == [False, True]
    assert server.reports[-1]["sequence"] > 100


def test_an_end_waits_for_a_report_no_longer_than_it_was_told(server: FakeServer) -> None:
    release = threading.Event()
    server.report_reply = lambda request: httpx.Response(204 if release.wait(PATIENCE_S) else 500)
    sender = ReportSender(Client("http://fake", transport=server.transport))
    sender.offer(report())
    sender.close()
    sender.wait(0.01)
    assert not sender.is_idle
    release.set()
    sender.wait(PATIENCE_S)
    assert sender.is_idle
    sender.offer(report(1))
    assert len(server.reports) == 1


def test_a_blow_up_is_told_at_once_with_its_reason(server: FakeServer) -> None:
    dynamics = water(server, timestep_fs=14.0)
    monitor = MDMonitor(dynamics)
    dynamics.attach(monitor)
    with pytest.raises(DynamicsBlewUp):
        dynamics.run(1000)
    monitor.close()
    assert [told["final"] for told in server.reports] == [True]
    assert server.reports[0]["blow_up"] in ("temperature", "bond", "energy")


def test_a_structure_that_the_server_refuses_for_what_it_became_is_a_blow_up(
    server: FakeServer,
) -> None:
    refused = InvalidStructure("atoms 0 and 1", code="atoms_too_close", structure=0)
    dynamics = water(server)
    monitor = MDMonitor(dynamics)
    dynamics.attach(monitor)
    dynamics.run(5)
    server.script = [problem(refused)]
    with pytest.raises(InvalidStructure), monitor:
        dynamics.run(5)
    assert monitor.trouble is not None
    assert (server.reports[-1]["blow_up"], server.reports[-1]["final"]) == ("bond", True)


def test_a_blow_up_that_does_not_stop_the_run_stays_in_what_follows(server: FakeServer) -> None:
    options = {"stop": False, "check_bonds_every": 1000, "report_every_s": 0.0}
    run(water(server, timestep_fs=14.0), 12, temperature_K=1.0, **options)
    assert server.reports[-1]["blow_up"] is not None
    assert server.reports[-1]["final"] is True


def test_reports_can_be_switched_off_and_other_calculators_have_none(server: FakeServer) -> None:
    run(water(server), 5, report=False)
    dynamics = water(server)
    calculator = dynamics.atoms.calc
    dynamics.atoms.calc = Wrapped(calculator)
    run(dynamics, 5)
    assert server.reports == []
    # Unless the calculator in charge is named.
    run(dynamics, 5, report=calculator)
    assert server.reports[-1]["model"] == "springs"


class Wrapped:
    """A calculator that hides another one."""

    implemented_properties = ("energy", "forces")

    def __init__(self, inner: RemoteCalculator) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_a_monitor_that_is_forgotten_was_at_its_end(server: FakeServer) -> None:
    def forgetful() -> ReportSender:
        dynamics = water(server)
        monitor = MDMonitor(dynamics)
        dynamics.attach(monitor)
        dynamics.run(5)
        # Or the two would keep each other.
        dynamics.observers.clear()
        assert monitor._reporter is not None
        return monitor._reporter._sender

    forgetful().wait(PATIENCE_S)
    assert server.reports[-1]["final"] is True


def test_figures_that_no_server_would_take_are_left_open() -> None:
    wild = replace(
        report(),
        drift_mev_per_atom_per_ps=1e9,
        drift_standard_error_mev_per_atom_per_ps=1.0,
        mean_temperature_k=float("inf"),
    )
    told = json.loads(wild.to_json())
    assert told["drift_mev_per_atom_per_ps"] is None
    assert told["drift_standard_error_mev_per_atom_per_ps"] is None
    assert told["mean_temperature_k"] is None


@pytest.fixture
def address(server: FakeServer) -> Iterator[str]:
    with serve(server) as url:
        yield url


def test_reports_have_a_connection_of_their_own(server: FakeServer, address: str) -> None:
    atoms = triangle()
    atoms.calc = RemoteCalculator(address, model="springs")
    draw_velocities(atoms, 300.0, np.random.default_rng(0))
    run(VelocityVerlet(atoms, 0.5 * units.fs), 5)
    atoms.calc.close()
    assert server.reports[-1]["final"] is True


def test_a_server_that_is_gone_by_the_end_harms_nothing(server: FakeServer) -> None:
    with serve(server) as address:
        atoms = triangle()
        atoms.calc = RemoteCalculator(address, model="springs")
        draw_velocities(atoms, 300.0, np.random.default_rng(0))
        dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
        monitor = MDMonitor(dynamics)
        dynamics.attach(monitor)
        dynamics.run(5)
    monitor.close()
    atoms.calc.close()
    assert monitor.n_samples == 6
