"""What goes wrong with trained students is told by the alert that is meant for it, and by no other.

Real students, a real teacher, a real Prometheus; one cause at a time, each taken away again.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet

from forcegate_client import Client, MDMonitor, RemoteCalculator
from forcegate_client.md.blow_up import DynamicsBlewUp
from forcegate_client.md.nve import draw_velocities
from forcegate_monitoring.alerts import render_rules
from forcegate_monitoring.health_board import HEALTH
from support.damaged import write_damaged
from support.deployment import ROOT
from support.exported import asked
from support.killable import KillableGateway, killable
from support.models import newest_version
from support.watchers import PATIENT, Alertmanager, Prometheus, notifications, short_windows, until

pytestmark = pytest.mark.system

STUDENT, DAMAGED = "painn_ultra_tiny", "painn_damaged"
# Minutes become seconds. Seven short simulations have to fit into the window of drift.
SHORT = short_windows(drift="40s")
ORDINARY = ("C2H6", "CH3CH2OH", "CH3COOH", "C6H6", "H3CNH2", "CH3CHO", "C4H4NH", "CH3OCH3")


class Watched:
    """A gateway with a student and a damaged one, who watches it, and what was told."""

    def __init__(
        self, gateway: KillableGateway, prometheus: Prometheus, told: list[dict[str, Any]]
    ) -> None:
        self.gateway = gateway
        self.prometheus = prometheus
        self._told = told
        self._rng = np.random.default_rng(0)
        self.client = Client(gateway.url)

    def names_told(self, status: str) -> list[str]:
        return [a["labels"]["alertname"] for a in self._told if a["status"] == status]

    def ask(self, model: str, structures: list[Atoms]) -> None:
        """Energies and forces of shaken structures."""
        for atoms in structures:
            atoms.positions += self._rng.normal(0.0, 0.03, atoms.positions.shape)
        self.client.predict(structures, model=model)

    def ordinary(self) -> None:
        """What the students were trained for."""
        self.ask(STUDENT, [molecule(name) for name in ORDINARY * 8])

    def expect_only(
        self, alert: str, cause: Callable[[], None], end: Callable[[], None] = lambda: None
    ) -> None:
        """``cause``, again and again, fires ``alert`` alone; after ``end`` it is over."""
        assert self.prometheus.alerts("firing") == set()
        self._told.clear()

        def fired() -> bool:
            cause()
            return bool(self.names_told("firing"))

        until(fired, f"{alert} never came")
        # Others would come within their windows, which are no longer.
        for _ in range(5):
            cause()
        assert self.prometheus.alerts("firing") == {alert}
        end()

        def resolved() -> bool:
            self.ordinary()
            return bool(self.names_told("resolved"))

        until(resolved, f"{alert} never ended")
        assert set(self.names_told("firing")) == {alert}
        assert set(self.names_told("resolved")) == {alert}
        until(lambda: not self.prometheus.alerts("firing"), "something still fires")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    source = newest_version(STUDENT)
    shutil.copytree(source, folder / "models" / STUDENT / source.name)
    write_damaged(source, folder / "models", DAMAGED, 1.8)
    committed = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
    settings = {
        "FORCEGATE_SHADOW_FRACTION": "0.5",
        "FORCEGATE_SHADOW_DIR": str(folder / "spool"),
        # The teacher is asked of ordinary molecules alone.
        "FORCEGATE_SHADOW_MAX_ATOMS": "12",
        "FORCEGATE_SHADOW_MAX_FILES": "40",
        "FORCEGATE_CAPTURE_DIR": str(folder / "captured"),
    }
    with (
        killable(folder / "models", folder, **settings) as gateway,
        notifications() as (webhook, told),
        Alertmanager(folder / "alertmanager", committed, webhook) as alertmanager,
        Prometheus(
            folder / "prometheus",
            render_rules(SHORT, PATIENT),
            f"127.0.0.1:{gateway.port}",
            alertmanager,
        ) as prometheus,
    ):
        found = Watched(gateway, prometheus, told)
        until(lambda: bool(prometheus.query("forcegate_runtime_up == 1")), "nobody looks")
        yield found
        found.client.close()


def simulate(url: str, timestep_fs: float) -> None:
    """Methane without a thermostat for 2.5 ps."""
    atoms: Atoms = molecule("CH4")
    atoms.calc = RemoteCalculator(url, model=STUDENT)
    draw_velocities(atoms, 600.0, np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, timestep_fs * units.fs)
    with MDMonitor(dynamics, temperature_K=300.0) as monitor:
        dynamics.attach(monitor)
        dynamics.run(round(2500.0 / timestep_fs))
    assert monitor.trouble is None
    atoms.calc.close()


def overgrown() -> list[Atoms]:
    """Fluorine in the places of hydrogen: neutral, closed-shell, and like no training molecule."""
    atoms: Atoms = molecule("isobutane")
    atoms.numbers[atoms.numbers == 1] = 9
    # Bonds as short as those to hydrogen would be refused when they are shaken, and somewhat longer
    # ones are nothing new.
    atoms.positions *= 1.45
    return [atoms.copy() for _ in range(32)]


def test_dynamics_with_a_timestep_that_is_too_long_tell_of_drift(watched: Watched) -> None:
    # Near where Verlet's method loses a C–H bond for good.
    watched.expect_only(
        "ForcegateMDEnergyDrift", lambda: simulate(watched.gateway.url, timestep_fs=2.2)
    )


def test_traffic_of_unseen_chemistry_tells_of_input_drift(watched: Watched) -> None:
    watched.expect_only("ForcegateInputDrift", lambda: watched.ask(STUDENT, overgrown()))


def test_a_damaged_student_is_found_out_by_its_teacher(watched: Watched, tmp_path: Path) -> None:
    spool = watched.gateway.settings["FORCEGATE_SHADOW_DIR"]
    command = [str(Path(sys.executable).with_name("forcegate-train")), "shadow"]
    command += ["--spool", spool, "--gateway", watched.gateway.url, "--pause-s", "0.2"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen([*command, "--nice", "0"], stdout=log, stderr=log)

    def withdraw() -> None:
        shutil.rmtree(watched.gateway.repository / DAMAGED)
        watched.gateway.process.send_signal(signal.SIGHUP)

    try:
        watched.expect_only(
            "ForcegateShadowError",
            lambda: watched.ask(DAMAGED, [molecule(name) for name in ORDINARY]),
            withdraw,
        )
        assert worker.poll() is None, (tmp_path / "worker.log").read_text()
        worker.send_signal(signal.SIGTERM)
        # It ended in order, by that signal.
        assert worker.wait(60) == 128 + signal.SIGTERM, (tmp_path / "worker.log").read_text()
        assert "labelled" in (tmp_path / "worker.log").read_text().splitlines()[-1]
    finally:
        worker.kill()
        worker.wait()


def test_after_all_that_every_panel_of_model_health_has_something_to_show(
    watched: Watched,
) -> None:
    with pytest.raises(DynamicsBlewUp):
        simulate(watched.gateway.url, timestep_fs=3.0)
    for panel in HEALTH.panels:
        for query in panel.queries:
            expression = asked(query.expr, HEALTH)

            def shown(expression: str = expression) -> bool:
                watched.ordinary()
                return bool(watched.prometheus.query(expression))

            until(shown, f"{panel.title}: {expression}")
