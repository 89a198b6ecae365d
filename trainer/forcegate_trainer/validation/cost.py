"""What a step costs, with positions that were never asked for before."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms

from forcegate_client.structures import StructureBatch
from forcegate_trainer.reports import table
from forcegate_trainer.simulation.potential import BatchPotential
from forcegate_trainer.validation.section import Section

__all__ = ["cost_section", "measure_cost"]

_SHIFT = 0.01  # Å
_WARM_UP = 5


def measure_cost(
    potential: BatchPotential, structures: Sequence[Atoms], calls: int
) -> dict[str, Any]:
    """Milliseconds per call for all ``structures`` together, every call at new positions.

    A calculator that remembers its last answer would be measured remembering it.
    """
    batch = StructureBatch.from_atoms(structures)
    members = np.arange(len(batch), dtype=np.int64)
    rng = np.random.default_rng(3)
    took = []
    for call in range(_WARM_UP + calls):
        shift = _SHIFT * rng.standard_normal(batch.positions.shape)
        moved = replace(batch, positions=batch.positions + shift)
        begun = time.perf_counter()
        potential(moved, members)
        if call >= _WARM_UP:
            took.append(1e3 * (time.perf_counter() - begun))
    median = float(np.median(took))
    return {
        "structures": len(batch),
        "atoms": batch.total_atoms,
        "calls": calls,
        "ms_median": median,
        "ms_p95": float(np.quantile(took, 0.95)),
        "structures_per_s": 1e3 * len(batch) / median,
    }


def cost_section(potential: BatchPotential, structures: Mapping[str, Atoms], calls: int) -> Section:
    """Each of three sizes alone, then all structures in one call."""
    by_size = sorted(structures, key=lambda name: (len(structures[name]), name))
    chosen = dict.fromkeys((by_size[0], by_size[len(by_size) // 2], by_size[-1]))
    measured = {name: measure_cost(potential, [structures[name]], calls) for name in chosen}
    measured[f"all {len(structures)} together"] = measure_cost(
        potential, list(structures.values()), calls
    )
    load = os.getloadavg()[0]
    cores = os.cpu_count()
    rows = [
        (
            name,
            one["atoms"],
            f"{one['ms_median']:.2f}",
            f"{one['ms_p95']:.2f}",
            f"{one['structures_per_s']:.0f}",
        )
        for name, one in measured.items()
    ]
    text = (
        f"Energy and forces through the runtime, neighbour list included, new positions at every "
        f"one of {calls} calls ({platform.machine()}, {cores} cores, load {load:.1f} at the time: "
        "a load above the number of free cores makes these figures larger; benchmarks/ measures "
        "more carefully)."
    )
    return Section(
        title="Cost",
        markdown="\n\n".join(
            [text, table(("structures", "atoms", "ms, median", "ms, p95", "structures/s"), rows)]
        ),
        data={"measured": measured, "cores": cores, "load_average": load},
    )
