"""A real Prometheus and a real Alertmanager watch a real gateway through its life and death."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from forcegate_monitoring.alerts import render_rules
from forcegate_monitoring.generated import BOARDS
from forcegate_monitoring.panels import Board
from forcegate_service.runtimes.fake import write_fake_model
from support.deployment import ROOT
from support.exported import asked, metrics_in
from support.killable import KillableGateway, killable
from support.watchers import PATIENT, Alertmanager, Prometheus, notifications, short_windows, until

pytestmark = pytest.mark.system

WATER = {
    "atomic_numbers": [8, 1, 1],
    "positions": [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]],
}
# Minutes become seconds; what must last does so for a few looks.
SHORT = short_windows()
# The longest window, and what must last after it.
OVER = "30s"
# What has nothing to count under a little good traffic of the toy model, which has no histograms,
# and of which nobody runs dynamics or asks the teacher.
QUIET = {
    # Runs on the server, of which this traffic has none.
    "forcegate_run_simulated_ns_total",
    "forcegate_run_steps_total",
    "forcegate_run_structures_begun_total",
    "forcegate_run_structures_ended_total",
    "forcegate_cancelled_total",
    "forcegate_model_on_engine",
    "forcegate_capture_evicted_total",
    "forcegate_captured_structures_total",
    "forcegate_input_psi",
    "forcegate_input_window_structures",
    "forcegate_novel_structures_total",
    "forcegate_md_blow_ups_total",
    "forcegate_md_drift_mev_per_atom_per_ps_bucket",
    "forcegate_md_drifting_reports_total",
    "forcegate_md_judged_reports_total",
    "forcegate_md_reports_total",
    "forcegate_md_temperature_error_sigmas_bucket",
    "forcegate_shadow_dropped_total",
    "forcegate_shadow_force_mae_ev_per_angstrom",
    "forcegate_shadow_force_rmse_ev_per_angstrom",
    "forcegate_shadow_force_rmse_expected_ev_per_angstrom",
    "forcegate_shadow_structures_total",
}


class Watched:
    """A gateway, who watches it, and what those who are on duty have been told."""

    def __init__(
        self, gateway: KillableGateway, prometheus: Prometheus, told: list[dict[str, Any]]
    ) -> None:
        self.gateway = gateway
        self.prometheus = prometheus
        self.told = told

    def traffic(self) -> None:
        """Good requests of every size, and a few that are refused."""
        with httpx.Client(base_url=self.gateway.url) as client:
            for structures in (1, 1, 1, 4, 40):
                body = {"model": "fake", "structures": [WATER] * structures}
                assert client.post("/v1/predict", json=body).status_code == 200
            charged = {"model": "fake", "structures": [WATER | {"charge": 1}]}
            assert client.post("/v1/predict", json=charged).status_code == 422

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Let traffic go on until something is so."""

        def looked() -> bool:
            if self.gateway.process.poll() is None:
                self.traffic()
            return condition()

        until(looked, what)

    def names_told(self, status: str) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self.told if alert["status"] == status}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    write_fake_model(folder / "models")
    rules = render_rules(SHORT, PATIENT)
    committed = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
    with (
        killable(folder / "models", folder, FORCEGATE_RUNTIME="fake") as gateway,
        notifications() as (webhook, told),
        Alertmanager(folder / "alertmanager", committed, webhook) as alertmanager,
        Prometheus(
            folder / "prometheus", rules, f"127.0.0.1:{gateway.port}", alertmanager
        ) as prometheus,
    ):
        watched = Watched(gateway, prometheus, told)
        # Long enough for every window to be full.
        watched.until(
            lambda: len(prometheus.query(f"forcegate_runtime_up offset {OVER} == 1")) == 1,
            "the gateway was never seen",
        )
        yield watched


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_panel_asks_something_that_prometheus_understands_and_has_data_for(
    watched: Watched, board: Board
) -> None:
    page = httpx.get(f"{watched.gateway.url}/metrics").text
    # What is only described has no series yet.
    samples = [line for line in page.splitlines() if not line.startswith("#")]
    present, absent = metrics_in("\n".join(samples)), set()
    for panel in board.panels:
        for query in panel.queries:
            expression = asked(query.expr, board)
            watched.prometheus.query(expression)
            absent |= metrics_in(expression) - present
            # A share of 429 has no series before the first one.
            if metrics_in(expression) <= present and 'code="429"' not in expression:
                watched.until(
                    lambda expression=expression: bool(watched.prometheus.query(expression)),
                    f"{panel.title}: {expression}",
                )
    assert absent <= QUIET


def test_good_traffic_raises_no_alert(watched: Watched) -> None:
    # Nothing is silent because it sees nothing.
    recorded = "forcegate:slow_steps:page_short"
    watched.until(lambda: bool(watched.prometheus.query(recorded)), recorded)
    assert watched.prometheus.alerts("firing") == set()
    assert watched.told == []


def test_a_gateway_that_is_killed_raises_one_alert_which_ends_when_it_is_back(
    watched: Watched,
) -> None:
    assert watched.told == []
    watched.gateway.kill()
    until(lambda: bool(watched.names_told("firing")), "nobody was told")
    # Whatever else were to come would come within its windows.
    until(
        lambda: bool(watched.prometheus.query(f'up{{job="forcegate"}} offset {OVER} == 0')),
        "the gateway was not missed",
    )
    assert watched.prometheus.alerts("firing") == {"ForcegateRuntimeDown"}
    assert watched.names_told("firing") == {"ForcegateRuntimeDown"}
    (alert, *_) = watched.told
    assert alert["labels"]["severity"] == "page"
    assert alert["labels"]["instance"] in alert["annotations"]["summary"]
    watched.gateway.start()
    watched.until(lambda: bool(watched.names_told("resolved")), "nobody was told that it is over")
    assert watched.names_told("resolved") == {"ForcegateRuntimeDown"}
    assert watched.prometheus.alerts("firing") == set()
