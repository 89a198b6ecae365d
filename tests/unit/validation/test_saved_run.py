"""A run that was stopped goes on to the end that it would have had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT

from forcegate_client.structures import StructureBatch
from forcegate_trainer.simulation.potential import CalculatorPotential, Evaluation
from forcegate_trainer.validation.dynamics.molecule_run import MoleculeRun
from forcegate_trainer.validation.dynamics.nve import Prepared, prepare, run_nve_batch
from forcegate_trainer.validation.dynamics.saved_run import SavedRun
from forcegate_trainer.validation.settings import NVESettings

SETTINGS = NVESettings(duration_ps=0.1, settle_ps=0.023, frames=4)
NAMES = ("H2O", "CH4", "CO2")
# One at the start, 46 while settling, 200 recorded.
CALLS = 1 + 46 + 200
# A bond of EMT's relaxed water, and how far (Å) rotation takes its end by the middle of the run.
BOND = np.array([0.0, 0.8242, -0.7274])
REACH = 0.9


class _Stopped(Exception):
    pass


class _Potential:
    """EMT that pulls atom 1 off molecule 0 as soon as it is ``REACH`` Å from where it began, and
    stops the run at call number ``stop``.
    """

    def __init__(self, stop: int | None = None) -> None:
        self._emt = CalculatorPotential(EMT)
        self._stop = stop
        self.calls = 0
        self.farthest: list[float] = []

    def __call__(self, batch: StructureBatch, members: npt.NDArray[np.int64]) -> Evaluation:
        self.calls += 1
        if self.calls == self._stop:
            raise _Stopped
        # Charges, of which EMT tells none, that depend on where the atoms are alone.
        found = self._emt(batch, members)._replace(charges=batch.positions[:, 0].copy())
        rows = np.flatnonzero(members == 0)
        if len(rows):
            first = batch.offsets[rows[0]]
            bond = batch.positions[first + 1] - batch.positions[first]
            # Depends on where the atoms are alone, so that it is the same after an interruption.
            turned = float(np.linalg.norm(bond - BOND))
            self.farthest.append(max([turned, *self.farthest[-1:]]))
            if turned > REACH:
                pull = 30.0 * bond / np.linalg.norm(bond)
                found.forces[first + 1] += pull
                found.forces[first] -= pull
        return found


@pytest.fixture(scope="module")
def prepared() -> list[Prepared]:
    return [prepare(name, molecule(name), EMT(), fmax=0.02, steps=300) for name in NAMES]


@pytest.fixture(scope="module")
def expected(prepared: list[Prepared]) -> list[MoleculeRun]:
    runs = run_nve_batch(prepared, _Potential(), SETTINGS)
    # What follows is worth something only if a molecule is lost on the way, and not at once.
    lost = runs[0].lost_ps
    assert lost is not None
    assert 0.01 < lost < 0.09
    assert all(run.survived for run in runs[1:])
    assert all(run.largest_net_charge_error for run in runs)
    return runs


def _assert_equal(found: Sequence[MoleculeRun], expected: Sequence[MoleculeRun]) -> None:
    for mine, other in zip(found, expected, strict=True):
        assert mine.summary() == other.summary()
        for name in ("times_ps", "potential_ev", "kinetic_ev", "temperature_k"):
            samples, wanted = mine.report.samples, other.report.samples
            np.testing.assert_array_equal(getattr(samples, name), getattr(wanted, name))
        np.testing.assert_array_equal(mine.net_charge_errors, other.net_charge_errors)
        final, end = mine.report.final, other.report.final
        np.testing.assert_array_equal(final.positions, end.positions)
        np.testing.assert_array_equal(final.get_momenta(), end.get_momenta())
        assert len(mine.report.frames) == len(other.report.frames)
        for frame, like in zip(mine.report.frames, other.report.frames, strict=True):
            np.testing.assert_array_equal(frame.positions, like.positions)
            np.testing.assert_array_equal(frame.get_forces(), like.get_forces())
            assert frame.get_potential_energy() == like.get_potential_energy()


def _saved(folder: Path, identity: str = "this run", every_s: float = 0.0) -> SavedRun:
    return SavedRun(folder / "main.npz", {"run": identity}, every_s=every_s)


@pytest.mark.parametrize("stop", [3, 30, 48, 49, 120, 200, CALLS - 1])
def test_wherever_it_is_stopped_it_ends_as_if_it_had_not_been(
    prepared: list[Prepared], expected: list[MoleculeRun], tmp_path: Path, stop: int
) -> None:
    with pytest.raises(_Stopped):
        run_nve_batch(prepared, _Potential(stop), SETTINGS, saved=_saved(tmp_path))
    again = _Potential()
    _assert_equal(run_nve_batch(prepared, again, SETTINGS, saved=_saved(tmp_path)), expected)
    # Blocks of ten steps: at most one of them is done twice, beside the call that begins a run.
    assert again.calls <= CALLS - stop + 1 + 10


def test_a_run_that_is_done_is_read_and_not_run(
    prepared: list[Prepared], expected: list[MoleculeRun], tmp_path: Path
) -> None:
    # Rarely saved on the way, but always at the end.
    run_nve_batch(prepared, _Potential(), SETTINGS, saved=_saved(tmp_path, every_s=1e9))
    again = _Potential()
    _assert_equal(run_nve_batch(prepared, again, SETTINGS, saved=_saved(tmp_path)), expected)
    assert again.calls == 1


@pytest.mark.parametrize("damage", ["other", "cut", "text", "none"])
def test_what_is_of_another_run_or_damaged_is_not_used(
    prepared: list[Prepared], expected: list[MoleculeRun], tmp_path: Path, damage: str
) -> None:
    identity = "another run" if damage == "other" else "this run"
    run_nve_batch(prepared, _Potential(), SETTINGS, saved=_saved(tmp_path, identity))
    path = tmp_path / "main.npz"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    elif damage == "text":
        path.write_text("no arrays")
    elif damage == "none":
        path.unlink()
    again = _Potential()
    _assert_equal(run_nve_batch(prepared, again, SETTINGS, saved=_saved(tmp_path)), expected)
    assert again.calls > CALLS / 2
