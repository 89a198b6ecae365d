"""The batched protocol reports what happened to each molecule, and when."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed
from ase.calculators.emt import EMT

from forcegate_client.md.bonds import bond_changes, bonded_pairs
from forcegate_client.md.nve import run_nve
from forcegate_client.md.velocities import degrees_of_freedom
from forcegate_client.structures import StructureBatch
from forcegate_service.runtimes.fake import FakeRuntime, write_fake_model
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.simulation.exported import RuntimePotential
from forcegate_trainer.simulation.motion import begin
from forcegate_trainer.simulation.potential import CalculatorPotential, Evaluation
from forcegate_trainer.validation.dynamics.bond_watch import BondWatch
from forcegate_trainer.validation.dynamics.control import teacher_control
from forcegate_trainer.validation.dynamics.molecule_run import MoleculeRun
from forcegate_trainer.validation.dynamics.nve import Prepared, prepare, run_nve_batch
from forcegate_trainer.validation.dynamics.survival import unphysical
from forcegate_trainer.validation.molecules import SuiteMolecule
from forcegate_trainer.validation.settings import ControlSettings, NVESettings

SHORT = NVESettings(duration_ps=0.1, settle_ps=0.02, frames=4)
TEACHER = "tblite:GFN2-xTB"


def _emt(names: tuple[str, ...]) -> list[Prepared]:
    return [prepare(name, molecule(name), EMT(), fmax=0.02, steps=300) for name in names]


@pytest.fixture(scope="module")
def runs() -> list[MoleculeRun]:
    return run_nve_batch(_emt(("H2O", "CH4", "CO2")), CalculatorPotential(EMT), SHORT)


def test_a_run_of_many_follows_the_protocol_for_one(runs: list[MoleculeRun]) -> None:
    """The same temperature, degrees of freedom and duration as the client's own protocol."""
    for run, name in zip(runs, ("H2O", "CH4", "CO2"), strict=True):
        atoms = molecule(name)
        atoms.calc = EMT()
        alone = run_nve(atoms, duration_ps=0.1, settle_ps=0.02, sample_every=2, seed=1)
        assert run.report.md.n_dof == alone.md.n_dof == degrees_of_freedom(atoms)
        assert run.report.md.duration_ps == pytest.approx(alone.md.duration_ps)
        np.testing.assert_allclose(run.report.samples.times_ps, alone.samples.times_ps, atol=1e-9)
        # Both start with exactly the energy of twice the temperature above their minimum.
        assert run.report.samples.total_ev[0] == pytest.approx(alone.samples.total_ev[0], abs=2e-3)
        assert run.survived
        assert run.report.relaxed


def test_a_molecule_neither_drifts_nor_turns_as_a_whole(runs: list[MoleculeRun]) -> None:
    for run in runs:
        final = run.report.final
        momenta = final.get_momenta()
        arms = final.positions - final.get_center_of_mass()
        assert np.abs(momenta.sum(axis=0)).max() < 1e-9
        assert np.abs(np.cross(arms, momenta).sum(axis=0)).max() < 1e-6


def test_frames_carry_the_energies_and_forces_of_their_positions(runs: list[MoleculeRun]) -> None:
    for run in runs:
        assert len(run.report.frames) == 4
        for frame in run.report.frames:
            again = frame.copy()
            again.calc = EMT()
            np.testing.assert_allclose(frame.get_forces(), again.get_forces(), atol=1e-10)
            assert frame.get_potential_energy() == pytest.approx(again.get_potential_energy())


def test_the_company_changes_nothing(runs: list[MoleculeRun]) -> None:
    (alone,) = run_nve_batch(_emt(("CH4",)), CalculatorPotential(EMT), SHORT)
    np.testing.assert_array_equal(alone.report.samples.total_ev, runs[1].report.samples.total_ev)


def test_the_first_part_of_a_run_is_the_run_that_was_shorter(runs: list[MoleculeRun]) -> None:
    shorter = run_nve_batch(
        _emt(("H2O", "CH4", "CO2")), CalculatorPotential(EMT), replace(SHORT, duration_ps=0.05)
    )
    for part, run in zip((run.first(0.05) for run in runs), shorter, strict=True):
        np.testing.assert_array_equal(part.report.samples.total_ev, run.report.samples.total_ev)
        assert part.drift == run.drift
        assert part.summary() == run.summary()


class _Torn:
    """EMT, but from a call on one molecule's first bond is pulled apart."""

    def __init__(self, victim: int, when: int, force: float) -> None:
        self._potential = CalculatorPotential(EMT)
        self._victim, self._when, self._force, self._calls = victim, when, force, 0

    def __call__(self, batch: StructureBatch, members: npt.NDArray[np.int64]) -> Evaluation:
        self._calls += 1
        found = self._potential(batch, members)
        rows = np.flatnonzero(members == self._victim)
        if self._calls > self._when and len(rows):
            first = batch.offsets[rows[0]]
            pull = batch.positions[first + 1] - batch.positions[first]
            pull *= self._force / np.linalg.norm(pull)
            found.forces[first + 1] += pull
            found.forces[first] -= pull
        return found


def test_a_molecule_that_comes_apart_is_told_with_its_bond_and_time_and_the_others_go_on(
    runs: list[MoleculeRun],
) -> None:
    # 41 calls come before the recording: one at the start, 40 while settling.
    torn = _Torn(victim=0, when=41 + 40, force=30.0)
    water, methane, _ = run_nve_batch(_emt(("H2O", "CH4", "CO2")), torn, SHORT)
    assert not water.survived
    assert water.drift is None
    assert water.report.md.bonds_broken == {(0, 1)}
    assert 0.02 < water.bonds_changed_ps <= water.lost_ps < 0.1
    assert "torn beyond 2 ×" in water.report.md.trouble
    assert water.report.md.duration_ps == pytest.approx(water.lost_ps, abs=0.001)
    assert len(water.report.frames) < 4
    np.testing.assert_array_equal(methane.report.samples.total_ev, runs[1].report.samples.total_ev)
    assert methane.survived


def test_a_molecule_that_explodes_is_told_so(runs: list[MoleculeRun]) -> None:
    exploding = _Torn(victim=1, when=61, force=1e4)
    water, methane, _ = run_nve_batch(_emt(("H2O", "CH4", "CO2")), exploding, SHORT)
    assert "force beyond 200 eV/Å" in methane.report.md.trouble
    assert methane.lost_ps == pytest.approx(0.015)
    assert methane.first(0.01).survived
    assert not methane.first(0.05).survived
    assert water.survived


def test_a_run_in_which_every_molecule_is_lost_ends(tmp_path: Path) -> None:
    """The fake model is a repulsion: under it every molecule flies apart."""
    card = write_fake_model(tmp_path)
    potential = RuntimePotential(FakeRuntime(card))
    water = molecule("H2O")
    start = Prepared("water", water, water, 3, relaxed=False)
    # Settling sees it off: nothing is recorded, and nothing is made up.
    (run,) = run_nve_batch([start], potential, replace(SHORT, settle_ps=3.0))
    assert not run.survived
    assert run.lost_ps < 0
    summary = run.summary()
    assert summary["mean_temperature_k"] is None
    assert summary["drift_mev_per_atom_per_ps"] is None
    assert "before the recording began" in summary["trouble"]


def test_the_bonds_of_many_are_judged_as_those_of_one() -> None:
    names = ("CH3CH2OH", "H2O", "C6H6")
    start = [molecule(name) for name in names]
    watch = BondWatch(start)
    rng = np.random.default_rng(5)
    for _ in range(20):
        moved = [atoms.copy() for atoms in start]
        for atoms in moved:
            atoms.positions += 0.25 * rng.standard_normal(atoms.positions.shape)
        batch = StructureBatch.from_atoms(moved)
        motion = begin(batch, _nothing, np.zeros_like(batch.positions))
        fresh = BondWatch(start)
        fresh.look(motion, 1.0)
        for row, atoms in enumerate(moved):
            one = bond_changes(bonded_pairs(start[row]), atoms)
            assert fresh.broken[row] == one.broken
            assert fresh.formed[row] == one.formed
            assert np.isnan(fresh.changed_ps[row]) == (not one)
        watch.look(motion, 2.0)
    assert any(watch.broken)
    assert any(watch.formed)


def test_a_molecule_whose_proton_went_over_is_not_lost() -> None:
    start = Atoms("NHOH", [[0, 0, 0], [0, 0, 1.03], [0, 0, 3.4], [0.9, 0, 3.7]])
    gone, lost = start.copy(), start.copy()
    gone.positions[1, 2] = 2.42
    lost.positions[1] = [0, 2.5, 0]
    batch = StructureBatch.from_atoms([gone, lost])
    watch = BondWatch([start, start])
    torn = watch.look(begin(batch, _nothing, np.zeros_like(batch.positions)), 1.0)
    assert torn.tolist() == [False, True]
    assert watch.broken == [{(0, 1)}, {(0, 1)}]
    assert watch.formed == [{(1, 2)}, set()]


def _nothing(batch: StructureBatch, members: npt.NDArray[np.int64]) -> Evaluation:
    return Evaluation(np.zeros(len(batch)), np.zeros_like(batch.positions), np.zeros(len(batch)))


def test_a_bond_change_is_unphysical_unless_the_teacher_shows_it_too(
    runs: list[MoleculeRun],
) -> None:
    report = runs[0].report
    md = replace(report.md, bonds_broken=frozenset({(0, 1)}))
    changed = replace(runs[0], bonds_changed_ps=0.05, report=replace(report, md=md))
    kept = {"bonds_broken": [], "bonds_formed": []}
    assert not unphysical(runs[0], None)
    assert unphysical(changed, None)
    assert unphysical(changed, kept)
    assert not unphysical(changed, kept | {"bonds_broken": [[0, 1], [0, 2]]})


def test_the_teachers_control_is_run_once_and_for_all_students(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "control.json"
    settings = ControlSettings(("water",), replace(SHORT, duration_ps=0.05, settle_ps=0.0))
    water = SuiteMolecule("water", "O", molecule("H2O"), False)
    unwanted = SuiteMolecule("methane", "C", molecule("CH4"), False)
    told: list[str] = []
    first = teacher_control(
        TEACHER, settings, [water, unwanted], path, lambda title, done, total: told.append(title)
    )
    assert list(first) == ["water"]
    assert first["water"]["survived"]
    assert first["water"]["drift_mev_per_atom_per_ps"] is not None
    assert set(told) == {"control: 0.05 ps of water"}
    before = path.read_bytes()

    def nobody(title: str, done: int, total: int) -> None:
        raise AssertionError("the teacher was run again")

    assert teacher_control(TEACHER, settings, [water], path, nobody) == first
    assert path.read_bytes() == before
    hotter = replace(settings, run=replace(settings.run, temperature_k=400.0))
    other = teacher_control(TEACHER, hotter, [water], path)
    assert other["water"]["temperature_k"] == 400.0
    assert teacher_control(TEACHER, settings, [water], path, nobody) == first
    path.write_text("{}")
    with pytest.raises(SettingsError, match="holds no runs of a control"):
        teacher_control(TEACHER, settings, [water], path)


class _Refuses(EMT):
    def calculate(self, *arguments: object) -> None:
        raise CalculationFailed("it did not converge")


def test_a_relaxation_that_fails_leaves_the_molecule_where_it_was() -> None:
    water = molecule("H2O")
    found = prepare("water", water, _Refuses(), fmax=0.02, steps=2)
    assert not found.relaxed
    np.testing.assert_array_equal(found.atoms.positions, water.positions)
