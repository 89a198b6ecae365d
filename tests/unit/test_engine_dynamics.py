"""Dynamics within the engine: the trajectories of the textbook, whoever continues them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.data import atomic_masses

from forcegate_client.structures import StructureBatch
from forcegate_engine import EngineError, Motion, integrate
from support.engine import CHARGED, engine, evaluated, liquid

KELVIN = units.kB
# eV/u in (Å/fs)².
ACCELERATION = units.fs**2
STEP = 0.5  # fs


def moved(name: str, batch: StructureBatch, velocities: np.ndarray, **options: Any) -> Motion:
    """Some steps of ``batch``, whose masses are those of the elements."""
    return integrate(
        engine(name),
        *(batch.atomic_numbers, batch.positions, velocities),
        atomic_masses[batch.atomic_numbers],
        n_atoms=batch.n_atoms,
        cells=batch.cells,
        pbc=batch.pbc,
        **({"timestep_fs": STEP} | options),
    )


def thermal(batch: StructureBatch, kelvin: float, seed: int = 0) -> np.ndarray:
    """Velocities [N, 3] in Å/fs."""
    masses = atomic_masses[batch.atomic_numbers][:, None]
    normal = np.random.default_rng(seed).normal(size=(len(masses), 3))
    return np.sqrt(KELVIN * kelvin * ACCELERATION / masses) * normal


def kinetic(batch: StructureBatch, velocities: np.ndarray) -> float:
    masses = atomic_masses[batch.atomic_numbers][:, None]
    return float(0.5 * (masses * velocities**2).sum() / ACCELERATION)


def waters(count: int) -> StructureBatch:
    rng = np.random.default_rng(5)
    structures = [molecule("H2O") for _ in range(count)]
    for atoms in structures:
        atoms.rattle(0.02, rng=rng)
    return StructureBatch.from_atoms(structures)


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10, written from its paper."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def normals(seed: int, step: int, stream: int, atom: int) -> np.ndarray:
    counter = [atom, stream, step & 0xFFFFFFFF, step >> 32]
    u = (np.array(philox(counter, [seed & 0xFFFFFFFF, seed >> 32])) + 0.5) / 2.0**32
    radius = np.sqrt(-2.0 * np.log(u[[0, 0, 2]]))
    angle = 2.0 * np.pi * u[[1, 1, 3]]
    return radius * np.array([np.cos(angle[0]), np.sin(angle[1]), np.cos(angle[2])])


def by_the_book(
    name: str, batch: StructureBatch, v: np.ndarray, steps: int, **langevin: Any
) -> tuple[np.ndarray, np.ndarray]:
    """BAOAB in numpy, with the engine's forces."""
    m = atomic_masses[batch.atomic_numbers][:, None] / ACCELERATION
    x, v = batch.positions.copy(), v.copy()
    friction, kelvin = langevin.get("friction_per_fs", 0.0), langevin.get("temperature_k", 0.0)
    keep = np.exp(-friction * STEP)

    def forces() -> np.ndarray:
        there = StructureBatch.from_arrays(
            batch.n_atoms, batch.atomic_numbers, x, batch.cells, batch.pbc
        )
        return evaluated(engine(name), there).forces

    f = forces()
    for step in range(steps):
        v += 0.5 * STEP * f / m
        x += 0.5 * STEP * v
        if friction:
            noise = [
                normals(langevin["seed"], langevin["start_step"] + step, b, a)
                for b, count in enumerate(batch.n_atoms)
                for a in range(count)
            ]
            v = keep * v + np.sqrt((1.0 - keep**2) * KELVIN * kelvin / m) * np.array(noise)
        x += 0.5 * STEP * v
        f = forces()
        v += 0.5 * STEP * f / m
    return x, v


def test_the_generator_of_these_tests_gives_the_published_numbers() -> None:
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = [0xFFFFFFFF] * 4
    assert philox(ones, ones[:2]) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


@pytest.mark.parametrize("name", ["painn_tiny", CHARGED])
@pytest.mark.parametrize(
    "langevin",
    [
        {},
        {"friction_per_fs": 0.02, "temperature_k": 300.0, "seed": 2**40 + 7, "start_step": 2**33},
    ],
)
def test_it_takes_the_steps_of_the_textbook(name: str, langevin: dict[str, Any]) -> None:
    rng = np.random.default_rng(6)
    batch = StructureBatch.from_atoms([liquid(rng, 2), liquid(rng, 1, "triclinic"), Atoms("N")])
    start = thermal(batch, 300.0)
    x, v = by_the_book(name, batch, start, 12, **langevin)
    found = moved(name, batch, start, steps=12, **langevin)
    np.testing.assert_allclose(found.positions, x, atol=1e-6)
    np.testing.assert_allclose(found.velocities, v, atol=1e-6)
    assert found.step == langevin.get("start_step", 0) + 12
    there = StructureBatch.from_arrays(
        batch.n_atoms, batch.atomic_numbers, found.positions, batch.cells, batch.pbc
    )
    answer = evaluated(engine(name), there)
    assert answer.forces.tobytes() == found.evaluation.forces.tobytes()
    assert answer.energy.tobytes() == found.evaluation.energy.tobytes()


def test_energy_is_conserved_and_time_runs_back() -> None:
    batch = waters(8)
    start = thermal(batch, 300.0)
    energies, motion = [], moved("painn_tiny", batch, start, steps=0)
    assert motion.velocities.tobytes() == start.tobytes()
    for _ in range(20):
        there = StructureBatch.from_arrays(batch.n_atoms, batch.atomic_numbers, motion.positions)
        motion = moved("painn_tiny", there, motion.velocities, steps=20)
        energies.append(float(motion.evaluation.energy.sum()) + kinetic(batch, motion.velocities))
    # meV per atom; Verlet's own oscillation at half a femtosecond.
    assert 1e3 * np.ptp(energies) / batch.total_atoms < 1.0
    there = StructureBatch.from_arrays(batch.n_atoms, batch.atomic_numbers, motion.positions)
    back = moved("painn_tiny", there, -motion.velocities, steps=400)
    np.testing.assert_allclose(back.positions, batch.positions, atol=1e-3)


def test_a_thermostat_keeps_its_temperature() -> None:
    batch = waters(64)
    motion, kelvins = moved("painn_ultra_tiny", batch, thermal(batch, 300.0), steps=0), []
    for k in range(12):
        there = StructureBatch.from_arrays(batch.n_atoms, batch.atomic_numbers, motion.positions)
        motion = moved(
            *("painn_ultra_tiny", there, motion.velocities),
            **{"steps": 40, "temperature_k": 300.0, "friction_per_fs": 0.05},
            **{"start_step": 40 * k, "seed": 3},
        )
        kelvins.append(2.0 * kinetic(batch, motion.velocities) / (3 * batch.total_atoms * KELVIN))
    # 192 atoms, twelve times: the mean is known within some 2 %.
    assert np.mean(kelvins[2:]) == pytest.approx(300.0, rel=0.06)


def test_a_run_that_goes_on_is_the_run_that_was_not_interrupted_in_any_company() -> None:
    rng = np.random.default_rng(7)
    batch = StructureBatch.from_atoms([liquid(rng, 1 + k % 3) for k in range(6)])
    start = thermal(batch, 400.0)
    langevin = {"temperature_k": 400.0, "friction_per_fs": 0.01, "seed": 11}
    whole = moved(CHARGED, batch, start, steps=30, threads=1, **langevin)
    half = moved(CHARGED, batch, start, steps=13, threads=2, **langevin)
    there = StructureBatch.from_arrays(
        batch.n_atoms, batch.atomic_numbers, half.positions, batch.cells, batch.pbc
    )
    for forces in (None, half.evaluation.forces):
        rest = moved(
            *(CHARGED, there, half.velocities),
            **({"steps": 17, "start_step": half.step, "forces": forces, "threads": 3} | langevin),
        )
        assert rest.positions.tobytes() == whole.positions.tobytes()
        assert rest.velocities.tobytes() == whole.velocities.tobytes()
    for b in (4, 1):
        atoms = slice(*batch.offsets[b : b + 2])
        alone = moved(CHARGED, batch.select([b]), start[atoms], steps=30, streams=[b], **langevin)
        assert alone.positions.tobytes() == whole.positions[atoms].tobytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": -1}, "steps -1"),
        ({"timestep_fs": 0.0}, "timestep 0"),
        ({"timestep_fs": float("nan")}, "timestep nan"),
        ({"temperature_k": -1.0}, "temperature -1"),
        ({"friction_per_fs": float("inf")}, "friction inf"),
        ({"forces": np.full((3, 3), np.nan)}, "force nan"),
        ({"forces": np.zeros((2, 3))}, r"forces of shape \(2, 3\)"),
        ({"streams": [-1]}, "streams"),
        ({"streams": [1, 2]}, "streams of shape"),
        ({"threads": -1}, "-1 threads"),
    ],
)
def test_what_no_simulation_has_is_refused(options: dict[str, Any], said: str) -> None:
    batch = waters(1)
    with pytest.raises(EngineError, match=said):
        moved(CHARGED, batch, np.zeros((3, 3)), **({"steps": 1} | options))


def test_runs_of_different_kinds_move_together_as_each_moves_alone() -> None:
    batch = waters(3)
    speeds = thermal(batch, 300.0)
    own: list[dict[str, Any]] = [
        {"timestep_fs": 0.5, "start_step": 0},
        {"timestep_fs": 0.25, "start_step": 7, "friction_per_fs": 0.02, "temperature_k": 300.0}
        | {"seed": 2**40, "streams": 9},
        {"timestep_fs": 1.0, "start_step": 1000, "friction_per_fs": 0.1, "seed": 3}
        | {"temperature_k": 50.0, "streams": 1},
    ]
    defaults = {"friction_per_fs": 0.0, "temperature_k": 0.0, "seed": 0, "streams": 0}
    together = {name: [(defaults | one)[name] for one in own] for name in own[1]}
    found = moved(CHARGED, batch, speeds, steps=20, threads=2, **together)
    for b, options in enumerate(own):
        atoms = slice(3 * b, 3 * b + 3)
        options = {n: [v] if n == "streams" else v for n, v in options.items()}
        alone = moved(CHARGED, batch.select([b]), speeds[atoms], steps=20, threads=1, **options)
        assert alone.positions.tobytes() == found.positions[atoms].tobytes()
        assert alone.velocities.tobytes() == found.velocities[atoms].tobytes()


def test_fixed_atoms_stay_and_the_others_move() -> None:
    batch = waters(2)
    held = np.array([True, False, False, False, False, True])
    options = {"steps": 30, "friction_per_fs": 0.05, "temperature_k": 300.0}
    found = moved(CHARGED, batch, thermal(batch, 300.0), fixed=held, **options)
    assert (found.positions[held] == batch.positions[held]).all()
    assert (found.velocities[held] == 0.0).all()
    assert (found.positions[~held] != batch.positions[~held]).any(axis=1).all()


def test_counts_that_contradict_the_arrays_are_refused_whoever_knows_the_forces() -> None:
    batch = waters(2)
    start, masses = np.zeros((6, 3)), atomic_masses[batch.atomic_numbers]
    for forces in (None, np.zeros((6, 3))):
        with pytest.raises(EngineError, match="atoms in a"):
            integrate(
                *(engine(CHARGED), batch.atomic_numbers, batch.positions, start, masses),
                **{"steps": 1, "timestep_fs": STEP, "n_atoms": [3, 30], "forces": forces},
            )


def test_a_simulation_that_blows_up_ends_with_an_error_that_names_it() -> None:
    batch = waters(2)
    speeds = np.zeros((6, 3))
    speeds[3] = [0.0, 0.0, 900.0]
    with pytest.raises(EngineError, match="structure 1") as caught:
        moved(CHARGED, batch, speeds, steps=100_000, timestep_fs=100.0)
    assert caught.value.structure == 1
