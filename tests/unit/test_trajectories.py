"""A trajectory of a run that was stopped is cut back to the frames that its checkpoint knows."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, ulm

from forcegate_client.md.trajectories import TrajectoryFormat, open_trajectory

KINDS = (TrajectoryFormat.TRAJ, TrajectoryFormat.EXTXYZ)
KEPT = 3


def frame(number: int) -> Atoms:
    atoms = molecule("H2O")
    atoms.positions += 0.1 * number
    forces = np.full((3, 3), 0.01 * number)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0 * number, forces=forces)
    return atoms


def begun(path: Path, kind: TrajectoryFormat, frames: int) -> bytes:
    writer = open_trajectory(path, kind, 3, 0.5, 1, 0)
    for number in range(frames):
        writer.write(frame(number))
    writer.close()
    return path.read_bytes()


def gone_on(path: Path, kind: TrajectoryFormat) -> None:
    """Go on after the frames that are kept, and find those and the next."""
    writer = open_trajectory(path, kind, 3, 0.5, 1, KEPT)
    writer.write(frame(KEPT))
    writer.close()
    found = read(path, ":", format=kind.value)
    assert len(found) == KEPT + 1
    for number, atoms in enumerate(found):
        np.testing.assert_allclose(atoms.positions, frame(number).positions, atol=1e-8)


def test_a_text_that_ends_anywhere_in_a_frame_is_cut_back(tmp_path: Path) -> None:
    path, kind = tmp_path / "t.extxyz", TrajectoryFormat.EXTXYZ
    whole = len(begun(path, kind, KEPT))
    content = begun(path, kind, KEPT + 1)
    for end in range(whole, len(content) + 1):
        path.write_bytes(content[:end])
        gone_on(path, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_after_those_that_are_kept_go(kind: TrajectoryFormat, tmp_path: Path) -> None:
    path = tmp_path / "t"
    begun(path, kind, KEPT + 2)
    gone_on(path, kind)


@pytest.mark.parametrize("moment", range(8))
def test_a_frame_whose_writing_was_interrupted_goes(
    moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.traj"
    writer = open_trajectory(path, TrajectoryFormat.TRAJ, 3, 0.5, 1, 0)
    for number in range(KEPT):
        writer.write(frame(number))
    write, calls = ulm.Writer.write, 0

    def interrupted(*arguments: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > moment:
            raise KeyboardInterrupt
        write(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(ulm.Writer, "write", interrupted)
        with suppress(KeyboardInterrupt):
            writer.write(frame(KEPT))
    writer.close()
    gone_on(path, TrajectoryFormat.TRAJ)
