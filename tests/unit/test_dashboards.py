"""Dashboards are what their code writes, and ask for what gateways export."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from forcegate_monitoring.generated import BOARDS, generated
from forcegate_monitoring.panels import Board
from support.deployment import ROOT, compose, labels_of_metrics, project, routes
from support.exported import metrics_in, selectors_in

FOLDER = ROOT / "deploy" / "grafana" / "dashboards"


def uid_of(board: Board) -> str:
    return board.uid


def drawn(board: Board) -> dict[str, Any]:
    return json.loads((FOLDER / f"{board.uid}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(generated()))
def test_a_committed_file_is_what_the_generator_writes(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generated()[name], "run make monitoring"


def test_every_dashboard_in_the_folder_has_its_code() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {board.uid for board in BOARDS}


@pytest.mark.parametrize("board", BOARDS, ids=uid_of)
def test_no_panel_asks_for_a_metric_or_a_label_that_no_gateway_exports(board: Board) -> None:
    known = labels_of_metrics()
    for panel in board.panels:
        assert panel.meaning.endswith(".")
        for query in panel.queries:
            for metric in metrics_in(query.expr):
                assert metric in known, metric
            for metric, labels in selectors_in(query.expr):
                # Prometheus adds where a gateway is.
                assert metric not in known or set(labels) - {"instance"} <= known[metric], metric
                assert labels.get("route", "/v1/predict") in routes()


@pytest.mark.parametrize("board", BOARDS, ids=uid_of)
def test_panels_are_drawn_from_the_source_that_is_provisioned(board: Board) -> None:
    text = (ROOT / "deploy/grafana/datasources/prometheus.yml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(text)["datasources"]
    panels = [panel for panel in drawn(board)["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in panels] == [panel.title for panel in board.panels]
    for panel in panels:
        asked = {target["datasource"]["uid"] for target in panel["targets"]}
        assert asked == {panel["datasource"]["uid"]} == {source["uid"]}


@pytest.mark.parametrize("board", BOARDS, ids=uid_of)
def test_panels_do_not_lie_on_each_other(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in drawn(board)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_dashboards_are_written_for_the_grafana_that_shows_them() -> None:
    image = compose()["services"]["grafana"]["image"].partition("@")[0]
    minor = image.partition(":")[2].rpartition(".")[0]
    (line,) = [
        name for name in project()["optional-dependencies"]["dev"] if name.startswith("grafana")
    ]
    assert line.partition("!")[2].startswith(f"{minor}.")
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert line in pinned
