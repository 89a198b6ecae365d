"""Alert rules: a template, and the windows and limits that go into it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Limits", "Windows", "render_rules"]

_TEMPLATE = Path(__file__).parents[2] / "prometheus" / "rules.template.yml"
_STEPS = 'route="/v1/predict",code_class="2xx",size_class="1"'
# Pairs of windows: an alert needs both, so that it is sure (long) and ends soon after (short).
_BURN_WINDOWS = (
    *("page_long", "page_short", "later_long", "later_short"),
    *("ticket_long", "ticket_short"),
)
_PLACE = re.compile(r"<<(\w+)>>")


@dataclass(frozen=True)
class Windows:
    """How far rules look back, and how long something must last before it is told (``_for``).

    Those of burn rates are the pairs of Google's SRE workbook for an objective over 30 days.
    """

    page_long: str = "1h"
    page_short: str = "5m"
    later_long: str = "6h"
    later_short: str = "30m"
    ticket_long: str = "3d"
    ticket_short: str = "6h"
    errors: str = "5m"
    saturation: str = "10m"
    rare: str = "30m"
    drift: str = "1h"
    down_for: str = "1m"
    errors_for: str = "2m"
    saturated_for: str = "10m"
    busy_for: str = "2h"
    digests_for: str = "5m"
    drift_for: str = "15m"
    shadow_for: str = "30m"


@dataclass(frozen=True)
class Limits:
    """What is too much; shares are between 0 and 1.

    ``step_limit`` (s, a bucket of the histogram) is what a step of dynamics may take beside a
    campaign: two batches of FORCEGATE_BATCH_TARGET_S and its own time. ``page_rate`` and the like
    are how many times faster than allowed the error budget is spent. ``shadow_factor`` is the
    error on live structures over the one that validation found.
    """

    job: str = "forcegate"
    step_limit: str = "0.2"
    objective: float = 0.99
    page_rate: float = 14.4
    later_rate: float = 6
    ticket_rate: float = 1
    least_requests: int = 20
    error_share: float = 0.02
    refused_share: float = 0.05
    budget_share: float = 0.8
    busy_share: float = 0.95
    drifting_share: float = 0.2
    least_reports: int = 4
    blow_ups: int = 2
    novel_share: float = 0.1
    least_structures: int = 100
    shadow_factor: float = 1.5
    # A path in this repository: put there where your copy of it is read.
    runbook: str = "docs/runbook.md"


def render_rules(windows: Windows | None = None, limits: Limits | None = None) -> str:
    """The file of rules for Prometheus."""
    windows, limits = windows or Windows(), limits or Limits()
    values = asdict(windows) | asdict(limits) | {"steps": _STEPS}
    values["misses"] = "\n".join(_misses(name, values) for name in _BURN_WINDOWS)
    template = _TEMPLATE.read_text(encoding="utf-8")
    _, _, rest = template.partition("groups:\n")
    written = "# Written by `make monitoring` from rules.template.yml; change that, not this.\n"
    return written + _filled("groups:\n" + rest, values)


def _misses(name: str, values: Mapping[str, object]) -> str:
    """One recorded share of slow steps; its name is the window's role, not its length."""
    selected, window = values["steps"], values[name]
    metric = "forcegate_request_duration_seconds"
    limit = values["step_limit"]
    return f"""\
      - record: forcegate:slow_steps:{name}
        expr: |
          1 - sum by (job, instance) (
            rate({metric}_bucket{{{selected},le="{limit}"}}[{window}])
          )
          / sum by (job, instance) (rate({metric}_count{{{selected}}}[{window}]))"""


def _filled(text: str, values: Mapping[str, object]) -> str:
    # A name that nobody knows is a KeyError, and thus no rule that is silently wrong.
    return _PLACE.sub(lambda match: str(values[match[1]]), text)
