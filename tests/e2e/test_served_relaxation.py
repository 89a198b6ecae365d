"""A trained student's minima, found in batches over HTTP, are those of ASE's FIRE in process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.optimize import FIRE

from forcegate_client import Client
from forcegate_client.relaxation import Relaxed, evaluator, relax_batched
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from forcegate_trainer.simulation.exported import RuntimeCalculator
from support.models import newest_version

pytestmark = pytest.mark.system

MODEL = "painn_ultra_tiny"
# Every element of the students, rings, and methyl groups that turn almost freely.
NAMES = [
    *("CH3CH2OH", "CH3COOH", "C6H6", "CH3CONH2", "trans-butane", "C2H6CHOH"),
    *("CH3CH2SH", "C4H4O", "C5H5N", "CH3CH2Cl", "HCF3", "CH3OCH3"),
]
FMAX = 0.05  # eV/Å
STEPS = 500
SAME_MINIMUM_EV = 1e-3


def shaken() -> list[Atoms]:
    rng = np.random.default_rng(0)
    frames = [molecule(name) for name in NAMES]
    for frame in frames:
        frame.positions += rng.normal(scale=0.05, size=frame.positions.shape)
    return frames


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[Relaxed]:
    """All of them through a gateway, five at a time, so that slots change hands."""
    repository = tmp_path_factory.mktemp("models")
    folder = newest_version(MODEL)
    (repository / MODEL).mkdir()
    (repository / MODEL / folder.name).symlink_to(folder, target_is_directory=True)
    settings = Settings(model_repository=repository, runtime="in-process")
    with running_gateway(settings) as url, Client(url) as client:
        found = relax_batched(
            shaken(), evaluator(client, MODEL), fmax=FMAX, max_steps=STEPS, slots=5
        )
        return sorted(found, key=lambda one: one.index)


@pytest.fixture(scope="module")
def alone() -> Iterator[list[tuple[Atoms, FIRE]]]:
    """Each by ASE, with the same file open in this process."""
    runtime = TorchScriptRuntime(newest_version(MODEL))
    try:
        found = []
        for atoms in shaken():
            atoms.calc = RuntimeCalculator(runtime)
            engine = FIRE(atoms, logfile=None)
            engine.run(fmax=FMAX, steps=STEPS)
            found.append((atoms, engine))
        yield found
    finally:
        runtime.close()


def test_every_molecule_gets_to_a_minimum(together: list[Relaxed]) -> None:
    assert [one.problem for one in together] == [None] * len(NAMES)
    assert all(one.converged and one.steps > 0 for one in together)
    assert all(one.energy < one.start_energy for one in together)  # type: ignore[operator]


def test_the_minima_are_those_of_ase_one_at_a_time(
    together: list[Relaxed], alone: list[tuple[Atoms, FIRE]]
) -> None:
    for name, one, (atoms, _) in zip(NAMES, together, alone, strict=True):
        assert one.energy == pytest.approx(atoms.get_potential_energy(), abs=SAME_MINIMUM_EV), name


def test_each_takes_as_many_steps_as_alone(
    together: list[Relaxed], alone: list[tuple[Atoms, FIRE]]
) -> None:
    # Float32 rounds a structure in a batch otherwise than alone, in the seventh digit: the step
    # at which the largest force falls below the limit may be the next one.
    for name, one, (_, engine) in zip(NAMES, together, alone, strict=True):
        assert abs(one.steps - engine.nsteps) <= 1, name
