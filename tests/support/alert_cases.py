"""What Prometheus sees in good and bad hours, written for ``promtool test rules``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CASES", "Case"]

# In minutes: all is well, something is wrong, all is well again.
_HOURS = (60, 120, 120)
INSTANCE = 'job="forcegate",instance="a:8000"'
MODEL = f'{INSTANCE},model="painn_base",version="1"'
ONE_MODEL = {"model": "painn_base", "version": "1"}
STEPS = f'{INSTANCE},route="/v1/predict",code_class="2xx",size_class="1"'
REQUESTS = f'forcegate_requests_total{{{INSTANCE},route="/v1/predict"'

# By series, what happens in a minute of each stretch: for counters what is added, for gauges
# (lists) what is read, "gone" for a series that is not there.
Stretches = Sequence[float] | Sequence[str]


@dataclass(frozen=True)
class Case:
    """One alert, the series that are wrong in the middle stretch, and the labels it then has.

    ``counters`` and ``gauges`` replace those of good hours; ``minutes`` are the three stretches,
    looked at every ``step``. ``beside`` is an alert that may fire too.
    """

    alert: str
    severity: str
    labels: Mapping[str, str]
    counters: Mapping[str, Stretches] = field(default_factory=dict)
    gauges: Mapping[str, Stretches] = field(default_factory=dict)
    minutes: tuple[int, int, int] = _HOURS
    step: int = 2
    beside: str = ""

    def document(self, rules: str) -> dict[str, Any]:
        """The file for promtool: nothing, this very alert and no other, nothing."""
        good, bad, after = self.minutes
        series = _counters(GOOD_COUNTERS | dict(self.counters), self)
        series |= _gauges(GOOD_GAUGES | dict(self.gauges), self)
        firing = f'ALERTS{{alertstate="firing",alertname!="{self.beside}"}}'
        named = {"alertname": self.alert, "alertstate": "firing", "severity": self.severity}
        pairs = ",".join(f'{name}="{value}"' for name, value in (named | self.labels).items())
        expected = [{"labels": f"ALERTS{{{pairs}}}", "value": 1}]
        moments = zip((good, good + bad, good + bad + after), ([], expected, []), strict=True)
        return {
            "rule_files": [rules],
            "evaluation_interval": f"{self.step}m",
            "tests": [
                {
                    "interval": f"{self.step}m",
                    "input_series": [
                        {"series": name, "values": values} for name, values in series.items()
                    ],
                    "promql_expr_test": [
                        {"expr": firing, "eval_time": f"{end - self.step}m", "exp_samples": samples}
                        for end, samples in moments
                    ],
                }
            ],
        }


def _counters(counters: Mapping[str, Stretches], case: Case) -> dict[str, str]:
    written = {}
    for name, rates in counters.items():
        parts, level = [], 0.0
        for rate, minutes in zip(rates, case.minutes, strict=True):
            steps = minutes // case.step
            if isinstance(rate, str):
                parts.append(f"_x{steps}")
            else:
                parts.append(f"{level}+{rate * case.step}x{steps - 1}")
                level += rate * minutes
        written[name] = " ".join(parts)
    return written


def _gauges(gauges: Mapping[str, Stretches], case: Case) -> dict[str, str]:
    written = {}
    for name, levels in gauges.items():
        parts = []
        for level, minutes in zip(levels, case.minutes, strict=True):
            steps = minutes // case.step
            # What is gone is gone at once, not after five minutes.
            parts.append(
                f"stale _x{steps - 1}" if isinstance(level, str) else f"{level}x{steps - 1}"
            )
        written[name] = " ".join(parts)
    return written


GOOD_COUNTERS: dict[str, Stretches] = {
    f'{REQUESTS},code="200"}}': (600, 600, 600),
    f'{REQUESTS},code="503"}}': (0, 0, 0),
    f'{REQUESTS},code="504"}}': (0, 0, 0),
    f'{REQUESTS},code="429"}}': (2, 2, 2),
    f"forcegate_request_duration_seconds_count{{{STEPS}}}": (600, 600, 600),
    f'forcegate_request_duration_seconds_bucket{{{STEPS},le="0.2"}}': (600, 600, 600),
    f"forcegate_runtime_busy_seconds_total{{{INSTANCE}}}": (30, 30, 30),
    f'forcegate_not_finite_total{{{INSTANCE},model="painn_base"}}': (0, 0, 0),
    f"forcegate_md_judged_reports_total{{{MODEL}}}": (1, 1, 1),
    f"forcegate_md_drifting_reports_total{{{MODEL}}}": (0.05, 0.05, 0.05),
    f"forcegate_watched_structures_total{{{MODEL}}}": (600, 600, 600),
    f"forcegate_novel_structures_total{{{MODEL}}}": (6, 6, 6),
}
GOOD_GAUGES: dict[str, Stretches] = {
    f"up{{{INSTANCE}}}": (1, 1, 1),
    f"forcegate_runtime_up{{{INSTANCE}}}": (1, 1, 1),
    f"forcegate_admitted_seconds{{{INSTANCE}}}": (1, 1, 1),
    f"forcegate_queue_budget_seconds{{{INSTANCE}}}": (10, 10, 10),
    f'forcegate_model_info{{{MODEL},digest="sha256:1"}}': (1, 1, 1),
    f"forcegate_shadow_force_rmse_ev_per_angstrom{{{MODEL}}}": (0.06, 0.06, 0.06),
    f"forcegate_shadow_force_rmse_expected_ev_per_angstrom{{{MODEL}}}": (0.05, 0.05, 0.05),
}
_HERE = {"job": "forcegate", "instance": "a:8000"}
_WITHIN = f'forcegate_request_duration_seconds_bucket{{{STEPS},le="0.2"}}'

CASES = [
    Case(
        "ForcegateRuntimeDown",
        "page",
        _HERE,
        gauges={f"forcegate_runtime_up{{{INSTANCE}}}": (1, 0, 1)},
    ),
    Case("ForcegateRuntimeDown", "page", _HERE, gauges={f"up{{{INSTANCE}}}": (1, 0, 1)}),
    # The name of a container that is gone leads nowhere.
    Case(
        "ForcegateRuntimeDown",
        "page",
        {"job": "forcegate"},
        gauges={f"up{{{INSTANCE}}}": (1, "gone", 1)},
    ),
    Case("ForcegateErrors", "page", _HERE, counters={f'{REQUESTS},code="503"}}': (0, 30, 0)}),
    # One step in four, for hours.
    Case(
        "ForcegateLatencyBurnsFast",
        "page",
        _HERE,
        counters={_WITHIN: (600, 450, 600)},
        beside="ForcegateLatencyBurnsSlowly",
    ),
    # One in fifty, for days.
    Case(
        "ForcegateLatencyBurnsSlowly",
        "ticket",
        _HERE,
        counters={_WITHIN: (600, 588, 600)},
        minutes=(60, 800, 800),
        step=5,
    ),
    Case("ForcegateSaturated", "ticket", _HERE, counters={f'{REQUESTS},code="429"}}': (2, 90, 2)}),
    Case(
        "ForcegateSaturated",
        "ticket",
        _HERE,
        gauges={f"forcegate_admitted_seconds{{{INSTANCE}}}": (1, 9.5, 1)},
    ),
    Case(
        "ForcegateBusy",
        "info",
        _HERE,
        counters={f"forcegate_runtime_busy_seconds_total{{{INSTANCE}}}": (30, 59, 30)},
        minutes=(60, 150, 60),
    ),
    Case(
        "ForcegateNotFinite",
        "ticket",
        {"model": "painn_base"},
        counters={f'forcegate_not_finite_total{{{INSTANCE},model="painn_base"}}': (0, 0.2, 0)},
    ),
    Case(
        "ForcegateDigestsDiffer",
        "page",
        ONE_MODEL,
        gauges={
            f'forcegate_model_info{{{MODEL.replace("a:8000", "b:8000")},digest="sha256:2"}}': (
                "gone",
                1,
                "gone",
            ),
        },
    ),
    Case(
        "ForcegateMDEnergyDrift",
        "ticket",
        ONE_MODEL,
        counters={f"forcegate_md_drifting_reports_total{{{MODEL}}}": (0.05, 0.5, 0.05)},
    ),
    Case(
        "ForcegateMDBlowUps",
        "ticket",
        ONE_MODEL,
        counters={
            f'forcegate_md_blow_ups_total{{{MODEL},reason="temperature"}}': (0, 0.1, 0),
        },
    ),
    # The first of their kind: a counter that was not there before.
    Case(
        "ForcegateMDBlowUps",
        "ticket",
        ONE_MODEL,
        gauges={
            f'forcegate_md_blow_ups_total{{{MODEL},reason="not_finite"}}': ("gone", 3, 3),
        },
        minutes=(120, 30, 240),
    ),
    Case(
        "ForcegateInputDrift",
        "ticket",
        ONE_MODEL,
        counters={f"forcegate_novel_structures_total{{{MODEL}}}": (6, 120, 6)},
    ),
    Case(
        "ForcegateShadowError",
        "ticket",
        ONE_MODEL,
        gauges={f"forcegate_shadow_force_rmse_ev_per_angstrom{{{MODEL}}}": (0.06, 0.09, 0.06)},
    ),
]
