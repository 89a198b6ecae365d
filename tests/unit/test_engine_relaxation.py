"""Relaxation within the engine: ASE's FIRE, for many structures, each as if it were alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.optimize import FIRE

from forcegate_client.structures import StructureBatch
from forcegate_engine import EngineError, Minimum, relax
from forcegate_engine.ase import Calculator
from support.engine import CHARGED, engine, evaluated, liquid

NAMES = ("CH3OH", "H2O", "C6H6", "HCN", "CH3SH", "NH3")


def rattled() -> list[Atoms]:
    rng = np.random.default_rng(10)
    structures = [molecule(name) for name in NAMES]
    for atoms in structures:
        atoms.rattle(0.08, rng=rng)
    return structures


def relaxed(name: str, structures: list[Atoms], **options: Any) -> Minimum:
    batch = StructureBatch.from_atoms(structures)
    return relax(
        engine(name),
        *(batch.atomic_numbers, batch.positions),
        n_atoms=batch.n_atoms,
        cells=batch.cells,
        pbc=batch.pbc,
        **options,
    )


@pytest.mark.parametrize("fixed", [False, True])
def test_it_goes_the_way_of_ases_fire(fixed: bool) -> None:
    atoms = liquid(np.random.default_rng(11), 2, "triclinic")
    held = np.arange(len(atoms)) < 3
    found = relaxed("painn_tiny", [atoms], fmax=1e-3, max_steps=40, fixed=held if fixed else None)
    atoms.calc = Calculator(engine("painn_tiny"))
    if fixed:
        atoms.set_constraint(FixAtoms(mask=held))
    start = atoms.positions.copy()
    assert not FIRE(atoms, logfile=None).run(fmax=1e-3, steps=40)
    assert found.steps.tolist() == [40]
    assert found.converged.tolist() == [False]
    np.testing.assert_allclose(found.positions, atoms.positions, atol=1e-4)
    assert (found.positions[held] == start[held]).all() == fixed


def test_minima_are_found_and_answered_for() -> None:
    structures = rattled()
    found = relaxed("painn_tiny", structures, fmax=0.02)
    assert found.converged.all()
    assert (found.steps > 0).all()
    batch = StructureBatch.from_atoms(structures)
    there = StructureBatch.from_arrays(batch.n_atoms, batch.atomic_numbers, found.positions)
    answer = evaluated(engine("painn_tiny"), there)
    assert answer.forces.tobytes() == found.evaluation.forces.tobytes()
    assert answer.energy.tobytes() == found.evaluation.energy.tobytes()
    assert np.linalg.norm(answer.forces, axis=1).max() < 0.02
    assert (answer.energy < evaluated(engine("painn_tiny"), batch).energy).all()
    # At a minimum already: nobody moves.
    again = relaxed(
        "painn_tiny",
        [Atoms(s.numbers, p) for s, p in zip(structures, _split(batch, found), strict=True)],
        fmax=0.02,
    )
    assert again.steps.tolist() == [0] * len(structures)
    assert again.positions.tobytes() == found.positions.tobytes()


def test_each_structure_goes_the_way_that_it_goes_alone() -> None:
    structures = rattled()
    together = relaxed("painn_tiny", structures, fmax=0.03, threads=3)
    assert len(set(together.steps.tolist())) > 1
    batch = StructureBatch.from_atoms(structures)
    for b, positions in enumerate(_split(batch, together)):
        alone = relaxed("painn_tiny", [structures[b]], fmax=0.03, threads=1)
        assert alone.positions.tobytes() == positions.tobytes()
        assert alone.steps[0] == together.steps[b]


def test_no_step_and_no_structure_are_answered_too() -> None:
    found = relaxed("painn_tiny", rattled()[:1], max_steps=0)
    assert (found.steps.tolist(), found.converged.tolist()) == ([0], [False])
    nothing = relax(engine(CHARGED), [], np.zeros((0, 3)), n_atoms=[])
    assert nothing.steps.shape == nothing.converged.shape == (0,)


def test_a_relaxation_that_goes_on_is_the_one_that_never_stopped() -> None:
    structures = rattled()
    batch = StructureBatch.from_atoms(structures)
    whole = relaxed("painn_tiny", structures, fmax=0.03)
    steps = np.zeros(len(structures), dtype=np.int64)
    part, state = relaxed("painn_tiny", structures, fmax=0.03, max_steps=0), {}
    while not part.converged.all():
        at = [Atoms(s.numbers, p) for s, p in zip(structures, _split(batch, part), strict=True)]
        state = {"velocities": part.velocities, "fires": part.fires}
        part = relaxed(
            *("painn_tiny", at),
            **{"fmax": 0.03, "max_steps": 7, "forces": part.evaluation.forces} | state,
        )
        steps += part.steps
    assert steps.tolist() == whole.steps.tolist()
    assert part.positions.tobytes() == whole.positions.tobytes()
    assert part.evaluation.energy.tobytes() == whole.evaluation.energy.tobytes()


def test_each_structure_has_its_own_limits() -> None:
    structures = rattled()[:2]
    found = relaxed("painn_tiny", structures, fmax=[0.5, 1e-5], max_steps=[200, 3])
    assert found.converged.tolist() == [True, False]
    assert found.steps[1] == 3
    alone = relaxed("painn_tiny", structures[:1], fmax=0.5)
    assert found.positions[: len(structures[0])].tobytes() == alone.positions.tobytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"velocities": np.zeros((3, 3))}, "without fires"),
        ({"velocities": np.zeros((3, 3)), "fires": np.zeros(1)}, "fires of shape"),
        ({"forces": np.full((3, 3), np.nan)}, "force of nan"),
        ({"fmax": 0.0}, "force of 0 eV"),
        ({"fmax": float("nan")}, "force of nan"),
        ({"max_steps": -1}, "max_steps -1"),
        ({"fixed": [True]}, "fixed of shape"),
        ({"threads": -1}, "-1 threads"),
    ],
)
def test_what_no_relaxation_has_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        relaxed("painn_tiny", [molecule("H2O")], **options)


def test_an_error_names_the_structure_by_its_place_among_all() -> None:
    structures = [molecule("H2O"), molecule("H2O"), Atoms("Hg")]
    with pytest.raises(EngineError, match="structure 2") as caught:
        relaxed("painn_tiny", structures)
    assert caught.value.structure == 2


def _split(batch: StructureBatch, found: Minimum) -> list[np.ndarray]:
    return np.split(found.positions, batch.offsets[1:-1])
