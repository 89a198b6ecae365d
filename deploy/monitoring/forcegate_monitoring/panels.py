"""From a title and PromQL to what Grafana draws; nothing here knows of forcegate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import VisibilityMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = ["Board", "Panel", "Query", "Section", "render_dashboard"]

# Its uid in deploy/grafana/datasources.
_SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
_HEIGHT = 7
_HALF, _QUARTER = 12, 6


@dataclass(frozen=True)
class Query:
    """PromQL, and what its series are called (``{{label}}``)."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """``unit`` as Grafana spells it; ``kind`` is how it is drawn: graph, number or table."""

    title: str
    meaning: str
    unit: str
    queries: Sequence[Query]
    kind: str = "graph"


@dataclass(frozen=True)
class Section:
    """A row of panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Board:
    """A dashboard; one chooses by the label ``variable``, among those of ``chosen_from``."""

    uid: str
    title: str
    meaning: str
    variable: str
    chosen_from: str
    sections: Sequence[Section]

    @property
    def panels(self) -> list[Panel]:
        """All of them."""
        return [panel for section in self.sections for panel in section.panels]


def render_dashboard(board: Board) -> str:
    """The JSON that Grafana reads."""
    choice = (
        dashboard.QueryVariable(board.variable)
        .label(board.variable)
        .query(f"label_values({board.chosen_from}, {board.variable})")
        .datasource(_SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".+")
    )
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.meaning)
        .tags(["forcegate"])
        .readonly()
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .with_variable(choice)
    )
    for section in board.sections:
        built = built.with_row(dashboard.Row(section.title))
        for panel in section.panels:
            built = built.with_panel(_drawn(panel))
    return json.dumps(built.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _drawn(panel: Panel) -> timeseries.Panel | stat.Panel | table.Panel:
    drawn: timeseries.Panel | stat.Panel | table.Panel
    if panel.kind == "graph":
        drawn = timeseries.Panel().span(_HALF).fill_opacity(10).show_points(VisibilityMode.NEVER)
    elif panel.kind == "number":
        drawn = stat.Panel().span(_QUARTER)
    else:
        drawn = table.Panel().span(2 * _HALF)
    drawn = drawn.title(panel.title).description(panel.meaning).height(_HEIGHT)
    drawn = drawn.datasource(_SOURCE).unit(panel.unit)
    for index, query in enumerate(panel.queries):
        asked = prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
        asked = asked.ref_id(chr(ord("A") + index)).datasource(_SOURCE)
        if panel.kind != "graph":
            asked = asked.instant()
        if panel.kind == "table":
            asked = asked.format(PromQueryFormat.TABLE)
        drawn = drawn.with_target(asked)
    return drawn
