"""Results have one form, for programs and for people."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

from forcegate_bench.report.plots import draw
from forcegate_bench.report.rows import Findings, absent, at_least, at_most, plain, read, write
from forcegate_bench.report.timing import Local, Timing, ratio, take_turns

MACHINE = {"cpu": "an abacus", "cores": 2}


def some_findings() -> Findings:
    found = Findings(
        [
            at_most("time / limit", 2.5, 3.0),
            at_least("peer / ours", 2.0, 3.0),
            absent("teacher / ours", "≥ 5"),
            plain("ours", 1.23456789, "ms"),
        ],
        ["the teacher is on holiday"],
    )
    for size, timing in ((1, Timing(((1.0, 2.0, 3.0),))), (64, Timing(((64.0,),)))):
        found.draw("batch", "ours", size, timing, 1 / size)
        found.draw("edges", "ours", size, timing)
        found.draw("peers", "painn_base", size, timing)
        found.draw("peers", "theirs", size, timing)
    return found


def test_a_row_has_five_fields_and_says_whether_what_is_asked_was_met(tmp_path: Path) -> None:
    path = tmp_path / "results" / "quick.json"
    write(path, "A title", MACHINE, some_findings())
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["machine"] == MACHINE
    assert [set(row) for row in document["rows"]] == 4 * [{"name", "value", "unit", "want", "ok"}]
    assert [row["ok"] for row in document["rows"]] == [True, False, None, True]
    assert [row["want"] for row in document["rows"]] == ["≤ 3", "≥ 3", "≥ 5", None]
    assert document["rows"][2]["value"] is None
    assert asdict(read(path)) == asdict(some_findings())


def test_people_read_what_was_missed_and_what_was_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "quick.json"
    write(path, "A title", MACHINE, some_findings())
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "| peer / ours | 2 | × | ≥ 3 | **no** |" in text
    assert "| teacher / ours | not measured | × | ≥ 5 | ? |" in text
    assert "| ours | 1.235 | ms |" in text
    assert "- the teacher is on holiday" in text


def test_every_series_is_drawn_beside_its_file(tmp_path: Path) -> None:
    drawn = draw(tmp_path / "quick.json", some_findings().series)
    assert {path.name for path in drawn} == {
        "quick-batch.png",
        "quick-edges.png",
        "quick-peers.png",
    }
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_findings_add_up_and_keep_the_first_of_two_points() -> None:
    found, other = some_findings(), some_findings()
    other.draw("batch", "ours", 8, Timing(((8.0,),)))
    other.series["batch"]["ours"][0][1] = 99.0
    found.add(other)
    assert len(found.rows) == 8
    assert [point[:2] for point in found.series["batch"]["ours"]] == [[1, 2.0], [64, 1.0], [8, 8.0]]


def test_candidates_take_turns_with_fresh_inputs() -> None:
    calls: list[tuple[str, int]] = []
    counters = {"a": iter(range(10**6)), "b": iter(range(10**6))}
    candidates = {
        name: Local(partial(next, counter), lambda k, name=name: calls.append((name, k)))
        for name, counter in counters.items()
    }
    times = take_turns(candidates, seconds=0.0, turns=3, warm_up=0.0)
    assert calls == [(name, k) for k in range(4) for name in ("a", "b")]
    assert [len(timing.turns) for timing in times.values()] == [3, 3]


def test_a_ratio_is_taken_turn_by_turn() -> None:
    # The machine was half as fast in the last turn, for both.
    slow, fast = Timing(((3.0,), (3.0,), (6.0,))), Timing(((1.0,), (1.0,), (2.0,)))
    assert ratio(slow, fast) == pytest.approx(3.0)


def test_the_readme_shows_the_nanoseconds_that_were_measured() -> None:
    root = Path(__file__).resolve().parents[3]
    measured = (root / "benchmarks/results/local.md").read_text(encoding="utf-8")
    table = measured[measured.index("| student |") :].rstrip()
    assert table.count("\n") >= 3
    assert table in (root / "README.md").read_text(encoding="utf-8")


def test_the_figures_of_a_step_are_the_ones_that_were_measured() -> None:
    root = Path(__file__).resolve().parents[3]
    document = (root / "docs/performance.md").read_text(encoding="utf-8")
    measured = (root / "benchmarks/results/quick.md").read_text(encoding="utf-8")
    table = measured[measured.index("| what |") : measured.index("## What else")].rstrip()
    assert table.count("\n") > 10
    assert table in document
    assert len(document.encode()) <= 12_000
