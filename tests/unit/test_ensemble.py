"""What a dynamics conserves is known, and what conserves nothing has no drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.md.andersen import Andersen
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import NoseHooverChainNVT
from ase.md.npt import NPT
from ase.md.nptberendsen import NPTBerendsen
from ase.md.nvtberendsen import NVTBerendsen
from ase.md.verlet import VelocityVerlet

from forcegate_client import MDMonitor
from forcegate_client.md.ensemble import (
    Ensemble,
    conserved_energy,
    driven_degrees_of_freedom,
    ensemble_of,
    target_temperature_k,
)
from forcegate_client.md.nve import draw_velocities
from forcegate_client.md.progress import RunProgress

STEP = 2.0 * units.fs
RNG = np.random.default_rng(0)


class Einstein(Calculator):  # type: ignore[misc]
    """Every atom on a spring of its own: an Einstein crystal, which costs next to nothing."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, atoms: Atoms) -> None:
        super().__init__()
        self._home = atoms.positions.copy()

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        away = self.atoms.positions - self._home
        energy = 0.5 * 5.0 * float((away**2).sum())
        self.results = {"energy": energy, "free_energy": energy, "forces": -5.0 * away}
        self.results["stress"] = np.zeros(6)


def copper(temperature_k: float = 300.0) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = Einstein(atoms)
    draw_velocities(atoms, temperature_k, np.random.default_rng(0))
    return atoms


def verlet(atoms: Atoms) -> MolecularDynamics:
    return VelocityVerlet(atoms, STEP)


def langevin(atoms: Atoms) -> MolecularDynamics:
    friction = 0.01 / units.fs
    return Langevin(atoms, STEP, temperature_K=300, friction=friction, fixcm=False, rng=RNG)


def andersen(atoms: Atoms) -> MolecularDynamics:
    return Andersen(atoms, STEP, 300, 0.01, fixcm=False, rng=RNG)


def bussi(atoms: Atoms) -> MolecularDynamics:
    return Bussi(atoms, STEP, 300, 100 * units.fs, rng=RNG)


def berendsen(atoms: Atoms) -> MolecularDynamics:
    return NVTBerendsen(atoms, STEP, temperature_K=300, taut=100 * units.fs)


def berendsen_pressure(atoms: Atoms) -> MolecularDynamics:
    options = {"pressure_au": 0.0, "compressibility_au": 1.0, "taut": 100 * units.fs}
    return NPTBerendsen(atoms, STEP, temperature_K=300, **options)


def chain(atoms: Atoms) -> MolecularDynamics:
    return NoseHooverChainNVT(atoms, STEP, temperature_K=300, tdamp=100 * STEP)


@pytest.mark.filterwarnings("ignore:.*NPT:FutureWarning")
def melchionna(atoms: Atoms, **options: Any) -> MolecularDynamics:
    times = {"ttime": 50 * units.fs, "pfactor": None} | options
    return NPT(atoms, STEP, temperature_K=300, externalstress=0.0, **times)


ALL = [
    (verlet, Ensemble.NVE, None),
    (langevin, Ensemble.NVT, 300.0),
    (andersen, Ensemble.NVT, 300.0),
    (bussi, Ensemble.NVT, 300.0),
    (berendsen, Ensemble.NVT, 300.0),
    (berendsen_pressure, Ensemble.NPT, 300.0),
    (chain, Ensemble.NVT, 300.0),
    (melchionna, Ensemble.NVT, 300.0),
]


@pytest.mark.filterwarnings("ignore:.*NPT.*:FutureWarning")
@pytest.mark.parametrize(("make", "ensemble", "target"), ALL)
def test_every_integrator_of_ase_is_known_for_what_it_is(
    make: Any, ensemble: Ensemble, target: float | None
) -> None:
    dynamics = make(copper())
    assert ensemble_of(dynamics) is ensemble
    assert target_temperature_k(dynamics) == (None if target is None else pytest.approx(target))


@pytest.mark.filterwarnings("ignore:.*NPT.*:FutureWarning")
@pytest.mark.parametrize("make", [verlet, chain, bussi, melchionna])
def test_a_conserved_energy_stays_where_the_total_energy_need_not(make: Any) -> None:
    atoms = copper(600.0)
    dynamics = make(atoms)
    monitor = MDMonitor(dynamics, temperature_K=300)
    dynamics.attach(monitor)
    dynamics.run(600)
    drift = monitor.drift()
    assert drift is not None
    assert abs(drift.slope_mev_per_atom_per_ps) < 2.0
    # Thermostats take heat out and put it in.
    exchanged_mev_per_atom = np.ptp(monitor.samples.total_ev) * 1000 / len(atoms)
    assert make is verlet or exchanged_mev_per_atom > 3.0


@pytest.mark.parametrize("make", [langevin, andersen, berendsen, berendsen_pressure])
def test_thermostats_that_conserve_nothing_have_no_drift(make: Any) -> None:
    dynamics = make(copper())
    monitor = MDMonitor(dynamics, temperature_K=300)
    dynamics.attach(monitor)
    dynamics.run(600)
    assert conserved_energy(dynamics) is None
    assert monitor.drift() is None
    assert monitor.report().drift is None


def test_an_integrator_of_somebody_elses_is_taken_for_nothing() -> None:
    class Mine(VelocityVerlet):  # type: ignore[misc]
        def step(self, forces: Any = None) -> Any:
            return super().step(forces)

    class Named(VelocityVerlet):  # type: ignore[misc]
        """Integrates as its parent does."""

    assert ensemble_of(Mine(copper(), STEP)) is Ensemble.OTHER
    assert conserved_energy(Mine(copper(), STEP)) is None
    assert target_temperature_k(Mine(copper(), STEP)) is None
    assert ensemble_of(Named(copper(), STEP)) is Ensemble.NVE


@pytest.mark.filterwarnings("ignore:.*NPT.*:FutureWarning")
def test_a_barostat_alone_is_no_ensemble_of_the_list() -> None:
    kinds = {
        (None, None): Ensemble.NVE,
        (50 * units.fs, 1.0): Ensemble.NPT,
        (None, 1.0): Ensemble.OTHER,
    }
    for (ttime, pfactor), ensemble in kinds.items():
        assert ensemble_of(melchionna(copper(), ttime=ttime, pfactor=pfactor)) is ensemble


def test_a_thermostat_that_pushes_each_atom_drives_overall_motion_too() -> None:
    assert MDMonitor(langevin(copper())).n_dof == 12
    assert MDMonitor(verlet(copper())).n_dof == 9
    assert driven_degrees_of_freedom(chain(copper())) is None


def test_block_means_of_a_line_give_its_slope_whatever_the_length() -> None:
    for samples in (20, 39, 40, 41, 1000, 12_345):
        progress = RunProgress(n_atoms=4)
        for time_ps in np.linspace(0.0, 50.0, samples):
            progress.add(float(time_ps), 1e4 + 0.008 * float(time_ps), 300.0)
        drift = progress.drift()
        assert drift is not None
        assert drift.slope_mev_per_atom_per_ps == pytest.approx(2.0, rel=1e-6)
        assert 20 <= drift.n_blocks < 40
        assert drift.standard_error_mev_per_atom_per_ps < 1e-6
        assert progress.mean_temperature_k() == pytest.approx(300.0)


def test_the_error_of_a_slope_covers_noise() -> None:
    rng = np.random.default_rng(1)
    within = 0
    for _ in range(100):
        progress = RunProgress(n_atoms=1)
        for step, noise in enumerate(rng.normal(scale=0.01, size=500)):
            progress.add(0.01 * step, float(noise), 300.0)
        drift = progress.drift()
        assert drift is not None
        size = abs(drift.slope_mev_per_atom_per_ps)
        within += size <= 2.0 * drift.standard_error_mev_per_atom_per_ps
    assert 85 <= within <= 100


def test_the_mean_temperature_leaves_out_how_the_run_began() -> None:
    progress = RunProgress(n_atoms=1)
    for step in range(1000):
        progress.add(float(step), 0.0, 600.0 if step < 300 else 300.0)
    assert progress.mean_temperature_k() == pytest.approx(300.0)
