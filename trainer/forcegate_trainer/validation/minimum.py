"""Relax one structure with one calculator, and say plainly whether that worked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculatorError
from ase.optimize import LBFGS

from forcegate_client.errors import ForcegateError

__all__ = ["Minimum", "relax"]


@dataclass(frozen=True)
class Minimum:
    """Where a relaxation ended; ``trouble`` says why, if the calculator gave up."""

    atoms: Atoms
    converged: bool
    steps: int
    trouble: str | None


def relax(atoms: Atoms, calculator: BaseCalculator, *, fmax: float, steps: int) -> Minimum:
    """ASE's LBFGS until no force exceeds ``fmax`` (eV/Å), at most ``steps`` steps.

    A calculator that raises, or answers with numbers that are not finite, ends the relaxation
    where it is.
    """
    work = atoms.copy()
    work.calc = calculator
    optimizer = LBFGS(work, logfile=None)
    trouble = None
    converged = False
    try:
        for converged in optimizer.irun(fmax=fmax, steps=steps):
            if not np.isfinite(work.get_forces()).all():
                trouble, converged = "forces are not finite", False
                break
    except (CalculatorError, ForcegateError, ArithmeticError, np.linalg.LinAlgError) as error:
        trouble, converged = str(error).splitlines()[0] if str(error) else repr(error), False
    work.calc = None
    return Minimum(work, bool(converged), optimizer.get_number_of_steps(), trouble)
