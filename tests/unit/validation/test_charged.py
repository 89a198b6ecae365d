"""Ions in dynamics: they move with their charge, and what wanders from it is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from ase.calculators.calculator import Calculator

from forcegate_client.electrons import electrons_of
from forcegate_client.md.bonds import bonded_pairs
from forcegate_client.structures import StructureBatch
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.simulation.potential import CalculatorPotential, Evaluation
from forcegate_trainer.teachers import make_teacher
from forcegate_trainer.validation.dynamics.charged import charged_section
from forcegate_trainer.validation.dynamics.molecule_run import MoleculeRun
from forcegate_trainer.validation.dynamics.nve import Prepared, prepare, run_nve_batch
from forcegate_trainer.validation.dynamics.suite_runs import MDResults, MDSeries
from forcegate_trainer.validation.molecules import CHARGED, charged_molecules
from forcegate_trainer.validation.settings import FULL, NVESettings
from forcegate_trainer.validation.verdict import judge

SHORT = NVESettings(duration_ps=0.03, settle_ps=0.005, relax_steps=20)


def gfn2() -> Calculator:
    return make_teacher("tblite:GFN2-xTB")


@pytest.fixture(scope="module")
def acetate() -> list[Prepared]:
    (one,) = charged_molecules(("acetate",))
    return [prepare(one.name, one.atoms, gfn2(), fmax=0.1, steps=20)]


class Wandering:
    """GFN2-xTB, whose charges miss the net charge by ``step`` e more at each call."""

    def __init__(self, step: float) -> None:
        self._exact = CalculatorPotential(gfn2)
        self._step, self._calls = step, 0

    def __call__(self, batch: StructureBatch, members: npt.NDArray[np.int64]) -> Evaluation:
        found = self._exact(batch, members)
        assert found.charges is not None
        missed = self._step * self._calls / len(found.charges)
        self._calls += 1
        return found._replace(charges=found.charges + missed)


def results(runs: list[MoleculeRun], wanted: tuple[str, ...]) -> MDResults:
    suite = replace(FULL, charged=wanted)
    nothing = MDSeries(FULL.main, ())
    return MDResults(suite, nothing, nothing, (), MDSeries(SHORT, tuple(runs)) if runs else None)


@pytest.mark.parametrize("name", CHARGED)
def test_each_has_its_net_charge_and_its_molecules_in_touch(name: str) -> None:
    (one,) = charged_molecules((name,))
    net = {"acetate": -1, "dopamine's cation": 1}.get(name, 0)
    assert electrons_of(one.atoms) == (net, 1)
    again = charged_molecules((name,))[0]
    np.testing.assert_array_equal(one.atoms.positions, again.atoms.positions)
    with pytest.raises(SettingsError, match="expected some of"):
        charged_molecules(("unobtainium",))


def test_waters_around_a_zwitterion_are_not_bonded_to_it() -> None:
    (one,) = charged_molecules(("glycine zwitterion in three waters",))
    atoms = one.atoms
    assert atoms.get_chemical_formula() == "C2H11NO5"
    # Nine bonds of glycine's ten atoms, and two of each water.
    assert len(bonded_pairs(atoms)) == 9 + 6
    distances = atoms.get_all_distances()
    for water in ((10, 11, 12), (13, 14, 15), (16, 17, 18)):
        others = [atom for atom in range(len(atoms)) if atom not in water]
        assert 1.4 < distances[np.ix_(water, others)].min() < 3.0


def test_an_ion_keeps_its_charge_along_a_run(acetate: list[Prepared]) -> None:
    (run,) = run_nve_batch(acetate, CalculatorPotential(gfn2), SHORT)
    assert run.survived
    assert len(run.net_charge_errors) == len(run.report.samples.times_ps)
    assert run.largest_net_charge_error < 1e-6
    section = charged_section(results([run], ("acetate",)))
    assert section.figures_for_verdict["charged_lost"] == 0.0
    assert section.figures_for_verdict["charged_net_charge_error_max"] < 1e-6
    assert list(section.figures) == ["net_charges"]


def test_a_charge_that_wanders_is_found_where_it_is_largest(acetate: list[Prepared]) -> None:
    (run,) = run_nve_batch(acetate, Wandering(0.001), SHORT)
    # One call at the start, ten while settling, sixty recorded.
    assert run.largest_net_charge_error == pytest.approx(0.001 * 70, abs=1e-6)
    half = run.first(0.015)
    assert half.largest_net_charge_error == pytest.approx(0.001 * 40, abs=1e-6)
    figures = charged_section(results([run], ("acetate",))).figures_for_verdict
    assert figures["charged_net_charge_error_max"] == run.largest_net_charge_error
    # More than twice the limit.
    assert judge(figures)["ions"].status == "rejected"


def test_ions_that_are_not_known_leave_nothing_to_judge(acetate: list[Prepared]) -> None:
    (run,) = run_nve_batch(acetate, CalculatorPotential(gfn2), SHORT)
    partly = charged_section(results([run], ("acetate", "bromhexine")))
    assert partly.figures_for_verdict == {}
    assert "Unknown to the subject: bromhexine" in partly.markdown
    nothing = charged_section(results([], ("acetate",)))
    assert nothing.figures_for_verdict == {}


def test_dynamics_holds_up_to_the_longest_step_before_one_that_drifts(
    acetate: list[Prepared],
) -> None:
    (run,) = run_nve_batch(acetate, CalculatorPotential(gfn2), SHORT)
    lost = replace(run, lost_ps=0.01)
    series = {step: MDSeries(replace(SHORT, timestep_fs=step), (run,)) for step in (0.5, 1.0, 2.0)}
    cold = MDSeries(replace(SHORT, temperature_k=100.0, timestep_fs=4.0), (run,))
    found = MDResults(FULL, series[0.5], cold, (cold, series[2.0], series[1.0]), None)
    # So short a run bounds no drift: with no limit all steps hold, with one none does.
    assert found.longest_timestep_fs(np.inf) == 2.0
    assert found.longest_timestep_fs(0.0) == 0.5
    failing = MDSeries(series[1.0].settings, (lost,))
    found = replace(found, variations=(failing, series[2.0]))
    assert found.longest_timestep_fs(np.inf) == 0.5
