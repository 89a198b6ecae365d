"""Threads are counted by what a container may use, not by what its machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from forcegate_service import machine
from forcegate_service.machine import usable_cores
from forcegate_service.settings import Settings


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of eight cores, and this process in the group ``unit/child`` of it."""
    (tmp_path / "cgroup").write_text("12:cpu:/ignored\n0::/unit/child\n")
    (tmp_path / "unit" / "child").mkdir(parents=True)
    monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_HIERARCHY", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    return tmp_path


def test_without_a_limit_every_core_counts(groups: Path) -> None:
    assert usable_cores() == 8
    (groups / "unit" / "child" / "cpu.max").write_text("max 100000\n")
    assert usable_cores() == 8


@pytest.mark.parametrize(
    ("limit", "expected"), [("400000 100000", 4), ("250000 100000", 3), ("50000 100000", 1)]
)
def test_a_limit_counts(groups: Path, limit: str, expected: int) -> None:
    (groups / "unit" / "child" / "cpu.max").write_text(limit)
    assert usable_cores() == expected


def test_the_tightest_of_a_group_and_its_ancestors_counts(groups: Path) -> None:
    (groups / "unit" / "child" / "cpu.max").write_text("600000 100000")
    (groups / "unit" / "cpu.max").write_text("200000 100000")
    assert usable_cores() == 2


def test_a_limit_above_the_cores_there_are_adds_none(groups: Path) -> None:
    (groups / "cpu.max").write_text("6400000 100000")
    assert usable_cores() == 8


def test_a_group_outside_the_containers_view_is_its_root(groups: Path) -> None:
    (groups / "cgroup").write_text("0::/../../elsewhere\n")
    (groups / "cpu.max").write_text("300000 100000")
    assert usable_cores() == 3


def test_without_control_groups_every_core_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "absent")
    monkeypatch.setattr(machine, "_HIERARCHY", tmp_path / "absent")
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_one_core_is_left_to_the_event_loop(groups: Path) -> None:
    (groups / "cpu.max").write_text("400000 100000")
    assert Settings().torch_threads == 3
