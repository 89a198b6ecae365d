"""The student against the teacher that it was fitted to."""

from __future__ import annotations

from collections.abc import Callable

from ase import Atoms

from forcegate_bench.models import Model
from forcegate_bench.rows import Findings, at_least, timed
from forcegate_bench.structures import Shaken, structure
from forcegate_bench.timing import Local, ratio, take_turns
from forcegate_trainer.teachers import make_teacher
from forcegate_trainer.teachers.spec import DEFAULT_TEACHER, TBLITE_ACCURACY

__all__ = ["measure_teacher"]

_ASKED = {"aspirin (21 atoms)": 5.0, "Ac-Ala9-NHMe (102 atoms)": 50.0}


def measure_teacher(seconds: float) -> Findings:
    """Energy and forces of both, at fresh positions; the larger molecule gets most of the time."""
    base = Model.preset("painn_base")
    found = Findings()
    curve = DEFAULT_TEACHER.partition(":")[2]
    for name, limit in _ASKED.items():
        share = 0.2 if limit < 10 else 0.8
        # A trajectory's use: one calculator per molecule, which starts each step from the density
        # of the step before, as in dynamics and labelling.
        teacher = Local(_frames(Shaken(name)), lambda atoms: atoms.get_forces())
        candidates = {"student": base.evaluation(Shaken(name)), "teacher": teacher}
        times = take_turns(candidates, share * seconds, turns=3)
        gain = ratio(times["teacher"], times["student"])
        found.rows.append(at_least(f"{name}: GFN2-xTB / painn_base", gain, limit))
        found.rows += timed(f"GFN2-xTB, {name}", times["teacher"])
        found.rows += timed(f"painn_base beside GFN2-xTB, {name}", times["student"])
        for label, timing in ((curve, times["teacher"]), ("painn_base", times["student"])):
            found.draw("peers", label, len(structure(name)), timing)
    found.notes.append(f"Teacher: {DEFAULT_TEACHER}, accuracy {TBLITE_ACCURACY:g}, one thread.")
    return found


def _frames(shaken: Shaken) -> Callable[[], Atoms]:
    calculator = make_teacher(DEFAULT_TEACHER)

    def next_frame() -> Atoms:
        atoms = shaken.next_atoms()
        atoms.calc = calculator
        return atoms

    return next_frame
