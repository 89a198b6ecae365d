"""Verdicts follow from figures by the one table of thresholds, and from nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from forcegate_trainer.validation.report import write_report
from forcegate_trainer.validation.section import Section, plain
from forcegate_trainer.validation.verdict import (
    CRITERIA,
    LONGEST_TIMESTEP,
    VERDICTS,
    judge,
    limit_of,
)

PERFECT = {criterion.figure: 1.0 if criterion.higher_is_better else 0.0 for criterion in CRITERIA}
PHYSICS = {
    "nve_drift_bound_max": 0.02,
    "trajectory_force_rmse": 0.10,
    "unphysical_bond_changes": 0.0,
    "lost_at_300k": 0.0,
    "lost_at_500k": 0.0,
    "heavy_atom_rmsd_median": 0.1,
    "relaxed_fraction": 0.95,
    "conformer_pair_mae_kcal": 0.5,
    "conformer_spearman": 0.9,
    "torsion_mae_kcal": 0.5,
    "torsion_barrier_mae_kcal": 1.0,
    "s66_mae_kcal": 1.0,
    "s66_wrong_signs": 0.0,
    "water_worst_kcal": 1.0,
    "ion_force_rmse_worst_kind": 0.16,
    "net_charge_error_q99": 0.03,
    "ion_neutral_rest_kcal": 0.05,
    "charged_drift_bound_max": 0.02,
    "charged_lost": 0.0,
    "charged_net_charge_error_max": 0.03,
}


def test_the_thresholds_are_those_of_the_design() -> None:
    assert {criterion.figure: criterion.limit for criterion in CRITERIA} == PHYSICS
    assert limit_of("nve_drift_bound_max") == 0.02


def test_a_perfect_student_is_approved_for_all_that_was_measured_and_never_for_crystals() -> None:
    verdicts = judge(PERFECT)
    assert {use: verdict.status for use, verdict in verdicts.items()} == {
        "md": "approved",
        "relax": "approved",
        "screening": "approved",
        "torsion": "approved",
        "binding": "approved",
        "ions": "approved",
        "periodic": "not_validated",
    }
    assert tuple(verdicts) == VERDICTS


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.figure)
def test_each_limit_separates_approval_from_caution_and_caution_from_rejection(
    criterion: object,
) -> None:
    better = -1e-9 if not criterion.higher_is_better else 1e-9
    statuses = [
        judge(PERFECT | {criterion.figure: value})[criterion.use].status
        for value in (
            criterion.limit + better,
            criterion.limit - better,
            criterion.caution_limit + better,
            criterion.caution_limit - better,
        )
    ]
    if criterion.limit == 0.0:
        # Twice nothing is nothing: one event rejects.
        assert statuses == ["approved", "rejected", "approved", "rejected"]
    else:
        assert statuses == ["approved", "caution", "caution", "rejected"]


def test_what_should_be_large_may_fall_short_of_one_by_twice_as_much_for_caution() -> None:
    limits = {criterion.figure: criterion.caution_limit for criterion in CRITERIA}
    assert limits["relaxed_fraction"] == pytest.approx(0.90)
    assert limits["conformer_spearman"] == pytest.approx(0.80)
    assert limits["nve_drift_bound_max"] == pytest.approx(0.04)


def test_what_was_not_measured_is_not_validated_unless_something_else_rejects() -> None:
    some = {name: value for name, value in PERFECT.items() if name != "trajectory_force_rmse"}
    assert judge(some)["md"].status == "not_validated"
    assert judge(some)["md"].decided_by == ("trajectory_force_rmse",)
    bad = judge(some | {"lost_at_500k": 1.0})["md"]
    assert bad.status == "rejected"
    assert bad.decided_by == ("lost_at_500k",)
    assert {verdict.status for verdict in judge({}).values()} == {"not_validated"}


def test_dynamics_is_approved_up_to_a_timestep_and_nothing_else_is(tmp_path: Path) -> None:
    verdicts = judge(PERFECT | {LONGEST_TIMESTEP: 1.0})
    assert verdicts["md"].holds_for == "timesteps up to 1 fs"
    assert {use for use, verdict in verdicts.items() if verdict.holds_for} == {"md"}
    write_report(tmp_path, "student", "About it.", verdicts, [], {"suite": "full"})
    text = (tmp_path / "report.md").read_text()
    assert "| `md` | **approved** for timesteps up to 1 fs |" in text
    # What is rejected holds for no step.
    rejected = judge(PERFECT | {LONGEST_TIMESTEP: 0.5, "lost_at_300k": 1.0})["md"]
    assert rejected.holds_for is None


def test_a_suite_that_is_too_short_judges_nothing_good_or_bad() -> None:
    for figures in (PERFECT, dict.fromkeys(PERFECT, 100.0)):
        verdicts = judge(figures, judges=False)
        assert {verdict.status for verdict in verdicts.values()} == {"not_validated"}
        assert not any(verdict.judgements for verdict in verdicts.values())


def test_a_section_refuses_numbers_that_mean_unknown() -> None:
    with pytest.raises(ValueError, match="None for what is not known"):
        Section("x", "", data={"rmse": float("nan")})
    with pytest.raises(ValueError, match="finite JSON"):
        Section("x", "", figures_for_verdict={"rmse": float("inf")})
    made = plain({"a": np.float64("nan"), "b": (np.int64(3), 1.5), "c": np.bool_(True)})
    assert made == {"a": None, "b": [3, 1.5], "c": True}
    assert Section("x", "", data=made).data["a"] is None


def test_a_report_begins_with_verdicts_and_says_the_same_in_json(tmp_path: Path) -> None:
    figure = Figure(figsize=(1, 1))
    section = Section("Drift", "![it](drift.png)", {"drift": figure}, {"largest": 0.03})
    verdicts = judge(PERFECT | {"nve_drift_bound_max": 0.03})
    write_report(tmp_path, "student", "About it.", verdicts, [section], {"suite": "full"})
    text = (tmp_path / "report.md").read_text()
    assert text.index("## Verdicts") < text.index("## Drift")
    assert "| `md` | **caution** | largest \\|drift\\|" in text
    assert "0.03 (limit ≤ 0.02)" in text
    assert (tmp_path / "drift.png").stat().st_size > 0
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["verdicts"]["md"]["status"] == "caution"
    assert content["verdicts"]["md"]["decided_by"] == ["nve_drift_bound_max"]
    assert content["sections"]["Drift"] == {"largest": 0.03}
    with pytest.raises(ValueError, match="each name once"):
        write_report(tmp_path, "student", "", verdicts, [section, section], {})
