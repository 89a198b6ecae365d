"""The tutorial and the pages of tasks do what they say: each command and script in them is run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from ase.io import read

from support.readme import ROOT, blocks, commands
from support.walkthrough import NOT_RUN, SERVE, Walkthrough, walkthrough

DOCS = ROOT / "docs"
# Pages of a task: each is followed by a test below.
FOLLOWED = ["tutorial.md", "screening.md", "images.md", "own-data.md", "runbook.md"]
FOLLOWED += sorted(f"howto/{page.name}" for page in (DOCS / "howto").glob("*.md"))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walkthrough]:
    """For pages whose reader has a server already."""
    with walkthrough(tmp_path_factory.mktemp("clone")) as one:
        one.run(SERVE)
        yield one


def test_every_command_that_is_not_run_is_still_in_a_document() -> None:
    written = {line for page in FOLLOWED for line in commands(DOCS / page)}
    assert set(NOT_RUN) <= written
    assert "make install\n" in (ROOT / ".ci" / "run").read_text()


def test_every_page_of_a_task_is_followed_by_a_test_below() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert set(FOLLOWED) == set(re.findall(r'clone\.follow\(DOCS / "([\w/-]+\.md)"[,)]', source))


def test_who_runs_dynamics_gets_there_by_the_how_to(clone: Walkthrough) -> None:
    clone.follow(DOCS / "howto/molecular-dynamics.md")
    (script,) = blocks("python", DOCS / "howto/molecular-dynamics.md")
    kelvin, novelty = re.findall(r"[\d.]+", clone.printed[script])[:2]
    assert 30 < float(kelvin) < 1500
    assert 0.3 < float(novelty) < 20
    assert "'md': 'caution'" in clone.printed[script]
    summary = json.loads((clone.folder / "runs" / "nve" / "summary.json").read_text())
    assert "drift_mev_per_atom_per_ps" in summary
    assert (clone.folder / "runs" / "nvt" / "log.csv").stat().st_size > 0


def test_who_has_a_laptop_has_the_server_take_the_steps(clone: Walkthrough) -> None:
    shorter = {
        "--time-ps 1000": "--time-ps 0.5 --equilibrate-ps 0.1",
        "--time-ps 1100": "--time-ps 0.6",
        "--log-every 100 --frame-every 2000": "--log-every 50 --frame-every 100",
        "range(100)": "range(3)",
        "run(20_000)": "run(400)",
    }
    clone.follow(DOCS / "howto/server-runs.md", shorter)
    summary = json.loads((clone.folder / "runs" / "aspirin" / "summary.json").read_text())
    assert summary["steps_by"] == "server"
    assert summary["simulated_ps"] == pytest.approx(0.6)
    assert (clone.folder / "runs" / "aspirin" / "trajectory.dcd").is_file()
    (table,) = [text for text in clone.printed.values() if text.startswith("replica")]
    assert len(re.findall(r"± [\d.]+ meV/atom/ps", table)) == 3


def test_who_comes_from_another_calculator_gets_a_reaction_path(clone: Walkthrough) -> None:
    clone.follow(DOCS / "images.md")
    (script,) = blocks("python", DOCS / "images.md")
    energies = json.loads(clone.printed[script])
    assert len(energies) == 5
    # A group turns around a single bond: tenths of an eV at most.
    assert max(energies) < 1.0


def test_who_has_a_library_gets_every_frame_that_can_be_computed(clone: Walkthrough) -> None:
    clone.follow(DOCS / "screening.md")
    summary = json.loads((clone.folder / "results" / "summary.json").read_text())
    assert summary["structures"] == 41
    with h5py.File(clone.folder / "results" / "results.h5") as results:
        assert list(results["rows/index"]) == [*range(20), *range(21, 41)]
        assert list(results["failures/index"]) == [20]
        assert list(results["failures/code"].asstr()) == ["element_unsupported"]
    assert 0 < len(read(clone.folder / "results" / "selected.extxyz", ":")) < 40


@pytest.mark.system
def test_the_first_hour_works_as_written(tmp_path: Path) -> None:
    with walkthrough(tmp_path) as clone:
        clone.follow(DOCS / "tutorial.md")
        printed = "\n".join(clone.printed.values())
        assert '"code":"element_unsupported"' in printed.replace('": "', '":"')
        assert "'md': 'caution'" in printed
        assert "forcegate_structures_total" in printed
        assert 'forcegate_md_reports_total{model="painn_base",outcome="accepted"' in printed
        assert (tmp_path / "runs" / "first" / "md" / "run.png").stat().st_size > 10_000


@pytest.mark.system
def test_who_makes_a_student_can_serve_it_in_the_end(tmp_path: Path) -> None:
    with walkthrough(tmp_path) as clone:
        clone.follow(DOCS / "own-data.md")
        report = tmp_path / "my_models" / "painn_ultra_tiny" / "1" / "report_quick" / "report.md"
        assert "component R²" in report.read_text()
        (models,) = [
            text for line, text in clone.printed.items() if line.endswith("forcegate models")
        ]
        assert "painn_ultra_tiny" in models


@pytest.mark.system
def test_who_operates_a_gateway_gets_keys_and_health(tmp_path: Path) -> None:
    with walkthrough(tmp_path) as clone:
        clone.follow(DOCS / "runbook.md")
        printed = clone.printed
        assert any(text.startswith("fg_") for text in printed.values())
        assert "forcegate_shadow_structures_total" in "\n".join(printed.values())
        assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
