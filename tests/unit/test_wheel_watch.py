"""A watch of the wheel: how long its phases last, what they ask, and what is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forcegate_client.dataset import Split
from forcegate_wheel.plots import write_figures
from forcegate_wheel.progress import LEAST_COMPARED, Progress
from forcegate_wheel.traffic import half_and_half
from support.wheel import molecules_of

ONE, BOTH = ("1",), ("1", "2")


def test_a_phase_ends_when_enough_was_asked_and_compared() -> None:
    progress = Progress(8, ONE)
    progress.compared({"1": 50.0})
    progress.asked(4, now=0.0)
    progress.compared({"1": 50.0 + LEAST_COMPARED})
    assert not progress.done(teacher=True)
    progress.asked(4, now=1.0)
    assert progress.done(teacher=True)


def test_comparisons_of_an_earlier_phase_do_not_count() -> None:
    progress = Progress(4, ONE)
    progress.compared({"1": 1000.0})
    progress.asked(4, now=0.0)
    assert not progress.done(teacher=True)
    assert progress.done(teacher=False)


def test_each_version_must_be_compared() -> None:
    progress = Progress(4, BOTH)
    progress.compared({})
    progress.asked(4, now=0.0)
    progress.compared({"1": 900.0})
    assert not progress.done(teacher=True)


def test_how_slow_a_machine_is_does_not_matter() -> None:
    slow = Progress(12, ONE)
    for step in range(3):
        assert not slow.done(teacher=False)
        slow.asked(4, now=10.0 * step)
    assert slow.done(teacher=False)


def test_windows_are_filled_again_after_a_pause() -> None:
    progress = Progress(1000, ONE)
    progress.asked(996, now=0.0)
    progress.asked(4, now=300.0)
    assert not progress.done(teacher=False)
    progress.asked(792, now=301.0)
    assert not progress.done(teacher=False)
    progress.asked(4, now=302.0)
    assert progress.done(teacher=False)


def test_what_was_compared_before_a_pause_does_not_count() -> None:
    progress = Progress(4, ONE)
    progress.compared({"1": 0.0})
    progress.asked(4, now=0.0)
    progress.compared({"1": 500.0})
    progress.asked(4, now=300.0)
    assert not progress.done(teacher=True)


def test_a_teacher_that_never_answers_ends_the_watch_with_an_error() -> None:
    progress = Progress(4, ONE)
    for step in range(9):
        progress.asked(4, now=float(step))
    with pytest.raises(TimeoutError, match=r"compared 0 of version 1; .* shadow\.log"):
        progress.done(teacher=True)


def test_half_of_mixed_traffic_has_the_group() -> None:
    ordinary = molecules_of(["C", "CC", "CCC"], ["X", "Y", "Z"], [Split.TRAIN] * 3)
    grouped = molecules_of(["CS(C)=O"], ["S"], [Split.TRAIN])
    mixed = half_and_half(ordinary, grouped, seed=0)
    keys = [mixed.molecules.split_key[row] for row in mixed.molecule_id]
    assert keys.count("S") == len(grouped) == len(mixed) - len(grouped)
    # Asked about, and not learned from.
    assert not mixed.is_labelled


def test_tables_tell_when_an_alert_came_and_of_whom_nothing_was_asked(tmp_path: Path) -> None:
    error = {"frames": 3, "force_rmse": 0.5, "energy_mae_mev_per_atom": 4.0, "novel_share": 0.25}
    results = {
        "errors": {"a judge": dict.fromkeys(("version 1", "control", "version 2"), error)},
        "frames": {"base": {"frames": 7, "molecules": 2}},
        "before": [
            _row(40, {"1": 0.0}, {}),
            _row(48, {"1": 0.5}, {"1": 0.5}),
            _row(56, {"1": 0.5}, {"1": 1.0}),
        ],
        "after": [_row(4, {"1": 0.5, "2": 0.02}, {"1": 1.0}), _row(8, {"1": 0.5, "2": 0.02}, {})],
    }
    write_figures(results, tmp_path)
    text = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert "| a judge (3 frames) | version 2 | 0.500 | 4.0 | 25.0 |" in text
    drift = "`ForcegateInputDrift`"
    assert f"| before retraining: mixed | {drift} | told after 16 structures | – |" in text
    assert f"| after retraining: mixed | {drift} | told after 0 structures | silent |" in text
    for name in ("timeline.png", "errors.png"):
        assert (tmp_path / name).stat().st_size > 1000


def test_the_page_about_active_learning_has_the_errors_that_were_measured() -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "active-learning.md").read_text(encoding="utf-8")
    tables = (docs / "active-learning" / "tables.md").read_text(encoding="utf-8")
    errors = [line for line in tables.split("\n## ")[1].splitlines() if line.startswith("| ")]
    assert len(errors) > 3
    for row in errors:
        assert row in page, f"{row} is in docs/active-learning/tables.md alone"


def _row(asked: int, novel: dict[str, float], drift: dict[str, float]) -> dict[str, Any]:
    empty = ("shadow_ratio", "shadow_rmse", "psi_novelty", "psi_elements", "captured")
    told = {"ForcegateInputDrift": drift, "ForcegateShadowError": {}}
    return {"phase": "mixed", "asked": asked, "novel_share": novel, **told} | {n: {} for n in empty}
