"""The student in the engine against its arithmetic, eager mode, smaller students and batches."""

from __future__ import annotations

import numpy as np

from forcegate_bench.machine.processor import MatrixProducts
from forcegate_bench.report.rows import Findings, at_least, at_most, plain, timed
from forcegate_bench.report.timing import Candidate, Local, ratio, take_turns
from forcegate_bench.subjects.eager import EagerPotential
from forcegate_bench.subjects.models import Model, flops, inputs_of, potential_of
from forcegate_bench.subjects.structures import Shaken
from forcegate_trainer.network.config import PRESETS

__all__ = ["measure_batching", "measure_students"]

_ASPIRIN = "aspirin (21 atoms)"
_BASE = "painn_base"
_ALONE = f"{_BASE} without charges"
# How much faster than base each smaller student should be; None: nothing is asked.
_SMALLER = {"painn_compact": None, "painn_tiny": 2.5, "painn_ultra_tiny": 4.0}


def measure_students(seconds: float) -> Findings:
    """Aspirin: each preset in the engine, base in eager mode with autograd, base's arithmetic.

    The last two are of the network alone, without charges.
    """
    base = Model.preset(_BASE, charges=False)
    potential = potential_of(PRESETS[_BASE])
    eager = EagerPotential(potential)
    example = inputs_of(Shaken(_ASPIRIN).next_batch(), base.cutoff)
    operations = flops(potential, example)
    candidates: dict[str, Candidate] = {
        name: Model.preset(name).evaluation(Shaken(_ASPIRIN)) for name in (_BASE, *_SMALLER)
    }
    candidates[_ALONE] = base.evaluation(Shaken(_ASPIRIN))
    shaken = Shaken(_ASPIRIN)
    candidates["eager"] = Local(
        lambda: inputs_of(shaken.next_batch(), base.cutoff), lambda inputs: eager(*inputs)
    )
    products = MatrixProducts()
    candidates["matrix products"] = products
    times = take_turns(candidates, seconds)
    del times["matrix products"]
    limit_ms = operations / products.best_rate * 1e-6
    found = Findings()
    where = f"{_ALONE}, {_ASPIRIN}"
    found.rows += [
        plain("matrix products on one core", products.best_rate, "GFLOP/s"),
        plain(f"{where}: operations of its matrix products", 1e-6 * operations, "MFLOP"),
        plain(f"{where}: arithmetic limit", limit_ms, "ms"),
        at_most(f"{where}: time / arithmetic limit", times[_ALONE].median / limit_ms, 3.0),
        at_least(f"{where}: eager autograd / engine", ratio(times["eager"], times[_ALONE]), 3.0),
    ]
    for name, limit in _SMALLER.items():
        label, value = f"{_ASPIRIN}: {_BASE} / {name}", ratio(times[_BASE], times[name])
        found.rows.append(
            plain(label, value, "×") if limit is None else at_least(label, value, limit)
        )
    for name, timing in times.items():
        label = f"{_ALONE}, in eager mode with autograd" if name == "eager" else name
        found.rows += timed(f"{label}, {_ASPIRIN}", timing)
    found.notes.append(agreement(base, eager, Shaken(_ASPIRIN)))
    return found


def agreement(model: Model, eager: EagerPotential, shaken: Shaken) -> str:
    """A sentence that tells how far the forces of the engine and of eager mode are apart."""
    batch = shaken.next_batch()
    forces = eager(*inputs_of(batch, model.cutoff))[1].detach().numpy()
    apart = float(np.abs(model.answer(batch)[1] - forces).max())
    return (
        f"Forces of the engine and of eager mode differ by {apart:.1e} eV/Å at most (same weights, "
        f"{_ASPIRIN})."
    )


def measure_batching(seconds: float, sizes: tuple[int, ...] = (1, 64)) -> Findings:
    """Time per molecule of aspirin in batches; the largest against the single molecule."""
    base = Model.preset(_BASE)
    times = take_turns(
        {str(size): base.evaluation(Shaken(_ASPIRIN, copies=size)) for size in sizes}, seconds
    )
    found = Findings()
    for size in sizes:
        timing = times[str(size)]
        found.rows.append(plain(f"{_BASE}, batch {size}", timing.median / size, "ms/molecule"))
        found.draw("batch", f"{_BASE}, 1 thread", size, timing, 1 / size)
    per_molecule = ratio(times["64"], times["1"]) / 64
    found.rows.append(at_most(f"{_BASE}: per molecule, batch 64 / batch 1", per_molecule, 1.0))
    return found
