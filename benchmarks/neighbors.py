"""Neighbour lists: microseconds of a structure, alone and in a batch, open and periodic.

CPU time of the thread that builds the graphs, so that other processes on the machine do not count,
and positions that have not been seen before at every call.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import molecule
from rich.console import Console
from rich.table import Table

from forcegate_client.cli.outspoken import run
from forcegate_client.structures import StructureBatch
from forcegate_service.graph import build_graph
from forcegate_trainer.validation.molecules import PUBLIC, molecule_from_smiles

CUTOFF = 5.0  # Å, that of the published models
SHAKE = 0.01  # Å; about what a step of dynamics moves an atom
WATER_VOLUME = 29.9  # Å³ of a molecule in the liquid
ROUNDS = 15
ROUND_ATOMS = 20_000  # what a round works off, in as many calls as that takes

Row = dict[str, object]


def water_box(n_molecules: int, periodic: bool) -> Atoms:
    """Molecules of water at the liquid's density, on a lattice, each turned at random."""
    rng = np.random.default_rng(n_molecules)
    side = (n_molecules * WATER_VOLUME) ** (1 / 3)
    along = int(np.ceil(n_molecules ** (1 / 3)))
    places = (np.indices((along,) * 3).reshape(3, -1).T + 0.5) * (side / along)
    box = Atoms(cell=np.eye(3) * side, pbc=periodic)
    for place in rng.permutation(places)[:n_molecules]:
        one = molecule("H2O")
        one.euler_rotate(*rng.uniform(0.0, 360.0, 3))
        one.positions += place
        box += one
    return box


def shaken(structures: Sequence[Atoms], rng: np.random.Generator) -> StructureBatch:
    """A batch of ``structures`` with every atom moved a little."""
    batch = StructureBatch.from_atoms(structures)
    batch.positions[:] += rng.normal(scale=SHAKE, size=batch.positions.shape)
    return batch


def microseconds(structures: Sequence[Atoms]) -> np.ndarray:
    """[rounds]; cost of one structure in a batch of ``structures``."""
    rng = np.random.default_rng(0)
    n_calls = max(2, ROUND_ATOMS // sum(map(len, structures)))
    durations = []
    for _ in range(ROUNDS + 1):
        batches = [shaken(structures, rng) for _ in range(n_calls)]
        started = time.thread_time_ns()
        for batch in batches:
            build_graph(batch, CUTOFF)
        durations.append((time.thread_time_ns() - started) / 1e3 / n_calls / len(structures))
    return np.array(durations[1:])


def cases() -> dict[str, list[Atoms]]:
    """What is measured, by name."""
    aspirin = molecule_from_smiles(PUBLIC["aspirin"])
    return {
        "aspirin, 21 atoms, open": [aspirin],
        "water, 99 atoms, open": [water_box(33, periodic=False)],
        "water, 999 atoms, open": [water_box(333, periodic=False)],
        "water, 21 atoms, periodic": [water_box(7, periodic=True)],
        "water, 99 atoms, periodic": [water_box(33, periodic=True)],
        "water, 999 atoms, periodic": [water_box(333, periodic=True)],
        "aspirin, 64 in a batch": [aspirin] * 64,
    }


def measure() -> list[Row]:
    """Rows of every case: the median over rounds, and the range that the rounds span."""
    # After a large array was freed, as in any gateway that has answered, the allocator keeps its
    # memory; before, each call would pay for fetching pages anew.
    np.ones(4_000_000).sum()
    rows: list[Row] = []
    for name, structures in cases().items():
        values = microseconds(structures)
        for suffix, value in (("", np.median(values)), (" spread", np.ptp(values))):
            rows.append(
                {
                    "name": f"graph, {name}{suffix}",
                    "value": round(float(value), 1),
                    "unit": "µs/structure",
                    "want": None,
                    "ok": True,
                }
            )
    return rows


def main() -> None:
    """Print what graphs cost."""
    table = Table("what", "value", "unit", title=f"median of {ROUNDS} rounds")
    for row in measure():
        table.add_row(str(row["name"]), f"{row['value']}", str(row["unit"]))
    Console().print(table)


if __name__ == "__main__":
    run(main)
