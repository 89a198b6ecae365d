"""Each alert fires when it should, is silent when all is well, and ends with its reason."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from forcegate_monitoring.alerts import Limits, Windows, render_rules
from forcegate_service.settings import Settings
from forcegate_service.watch.metrics.requests import LATENCY_BUCKETS_S
from support.alert_cases import CASES, Case
from support.deployment import ROOT, labels_of_metrics, routes
from support.exported import metrics_in, selectors_in
from support.watchers import tool

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def test_the_committed_rules_are_those_that_the_generator_writes() -> None:
    assert RULES.read_text(encoding="utf-8") == render_rules(), "run make monitoring"


def test_prometheus_takes_rules_and_configuration() -> None:
    for check in (["check", "rules", RULES], ["check", "config", RULES.parent / "prometheus.yml"]):
        done = subprocess.run([tool("promtool"), *check], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    configured = yaml.safe_load((RULES.parent / "prometheus.yml").read_text(encoding="utf-8"))
    assert configured["rule_files"] == [RULES.name]


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{index}-{case.alert}" for index, case in enumerate(CASES)]
)
def test_an_alert_fires_alone_and_ends(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump(case.document(str(RULES))), encoding="utf-8")
    done = subprocess.run([tool("promtool"), "test", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    assert {case.alert for case in CASES} == set(alerts())
    assert all(alerts()[case.alert]["labels"] == {"severity": case.severity} for case in CASES)


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_is_wrong_and_where_to_read_on(name: str) -> None:
    annotations = alerts()[name]["annotations"]
    assert len(annotations["summary"].split()) > 5
    page, _, anchor = annotations["runbook_url"].partition("#")
    text = (ROOT / page).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_the_runbook_is_about_alerts_that_exist() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (Forcegate\w+)$", text, re.MULTILINE)) == set(alerts())


def test_no_rule_names_a_metric_or_a_label_that_no_gateway_exports() -> None:
    known = labels_of_metrics()
    named = set()
    for rule in rules():
        for metric in metrics_in(rule["expr"]):
            named.add(metric)
            assert metric in known, metric
        for metric, labels in selectors_in(rule["expr"]):
            if metric in known:
                assert set(labels) <= known[metric] | {"le"}, metric
            assert labels.get("route", "/v1/predict") in routes()
    assert "forcegate_runtime_up" in named


def test_what_counts_as_a_slow_step_is_a_bucket_and_more_than_two_batches() -> None:
    limit_s = float(Limits().step_limit)
    assert limit_s in LATENCY_BUCKETS_S
    assert limit_s > 2 * Settings.model_fields["batch_target_s"].default


def test_other_windows_make_other_rules_of_the_same_alerts() -> None:
    shortened = render_rules(Windows(drift="5m", down_for="2s"))
    groups = yaml.safe_load(shortened)["groups"]
    named = {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
    assert named.keys() == alerts().keys()
    assert named["ForcegateRuntimeDown"]["for"] == "2s"
    assert "[5m]" in named["ForcegateInputDrift"]["expr"]
    assert "<<" not in shortened
