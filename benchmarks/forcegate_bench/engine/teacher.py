"""The student against its teacher, and against the method that chemists reach for otherwise."""

from __future__ import annotations

from collections.abc import Callable

from ase import Atoms

from forcegate_bench.report.rows import Findings, at_least, timed
from forcegate_bench.report.timing import Local, ratio, take_turns
from forcegate_bench.subjects.models import Model
from forcegate_bench.subjects.structures import Shaken, structure
from forcegate_trainer.teachers import make_teacher
from forcegate_trainer.teachers.spec import TBLITE_ACCURACY

__all__ = ["measure_teacher"]

_METHODS = {"AIMNet2": "aimnet2", "GFN2-xTB": "tblite:GFN2-xTB"}
# How many times faster than each the student shall be.
_ASKED = {
    "aspirin (21 atoms)": {"AIMNet2": 20.0, "GFN2-xTB": 5.0},
    "Ac-Ala9-NHMe (102 atoms)": {"AIMNet2": 5.0, "GFN2-xTB": 50.0},
}


def measure_teacher(seconds: float) -> Findings:
    """Energy and forces of all, at fresh positions; the larger molecule gets most of the time."""
    base = Model.preset("painn_base")
    found = Findings()
    for name, asked in _ASKED.items():
        share = 0.2 if len(structure(name)) < 50 else 0.8
        # A trajectory's use: one calculator per molecule, which starts each step from the density
        # of the step before, as in dynamics and labelling.
        methods = {
            method: Local(_frames(spec, Shaken(name)), lambda atoms: atoms.get_forces())
            for method, spec in _METHODS.items()
        }
        candidates = {"painn_base": base.evaluation(Shaken(name)), **methods}
        times = take_turns(candidates, share * seconds, turns=3)
        for method, limit in asked.items():
            gain = ratio(times[method], times["painn_base"])
            found.rows.append(at_least(f"{name}: {method} / painn_base", gain, limit))
        for label, timing in times.items():
            found.rows += timed(f"{label}, {name}", timing)
            found.draw("peers", label, len(structure(name)), timing)
    found.notes.append(
        f"AIMNet2 is the students' teacher, four networks in torch; GFN2-xTB with accuracy "
        f"{TBLITE_ACCURACY:g}; one thread each."
    )
    return found


def _frames(spec: str, shaken: Shaken) -> Callable[[], Atoms]:
    calculator = make_teacher(spec)

    def next_frame() -> Atoms:
        atoms = shaken.next_atoms()
        atoms.calc = calculator
        return atoms

    return next_frame
