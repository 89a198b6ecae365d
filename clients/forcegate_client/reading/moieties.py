"""Charge in the chemical formula of a CIF, where each ion is told with its own."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers

from forcegate_client.reading.record import RecordInvalid

__all__ = ["charge_of_moieties"]

_FACTOR = r"(\d+(?:\.\d+)?)?"
_BRACKETED = re.compile(rf"{_FACTOR}\s*[(\[{{]([^()\[\]{{}}]*)[)\]}}]\s*{_FACTOR}")
_ATOM = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)?")
_CHARGE = re.compile(r"(\d*)([+-])|([+-])(\d+)")
_SIGN = re.compile(r"[+-]")


def charge_of_moieties(formula: str, numbers: npt.NDArray[np.int64]) -> tuple[int, str]:
    """The charge of a cell of the atoms ``numbers`` [N], in e, and a remark or nothing.

    ``formula`` is a list of moieties such as ``2(C2 H3 O2 1-), Mg 2+, H2 O``.

    Raises:
        RecordInvalid: if its ions do not balance, and the cell is not so many of the formula.
    """
    found = _read(formula)
    if found is None:
        if not _SIGN.search(formula):
            return 0, ""
        return 0, f"its formula {formula[:60]!r} cannot be read, and the charge was taken for 0"
    atoms, charge = found
    if not charge:
        return 0, ""
    cell = Counter(numbers.tolist())
    counts = {cell[number] / count for number, count in atoms.items()}
    units = counts.pop() if len(counts) == 1 and set(cell) == set(atoms) else 0.0
    total = units * charge
    if not units or abs(total - round(total)) > 1e-6:
        raise RecordInvalid(
            "charge_invalid",
            f"its formula {formula[:60]!r} has a charge of {charge:+g}, and the cell is not made "
            "of it; correct _chemical_formula_moiety, or remove it if the cell is neutral",
        )
    return round(total), ""


def _read(formula: str) -> tuple[Counter[int], float] | None:
    """How many atoms of each atomic number, and their charge in e; None if it is no formula."""
    atoms: Counter[int] = Counter()
    charge = 0.0
    for part in formula.split(","):
        factor, body = 1.0, part.strip()
        if bracketed := _BRACKETED.fullmatch(body):
            factor, body = float(bracketed[1] or bracketed[3] or 1.0), bracketed[2]
        tokens = body.split()
        if not tokens:
            return None
        if told := _CHARGE.fullmatch(tokens[-1]):
            tokens.pop()
            charge += factor * int((told[2] or told[3]) + (told[1] or told[4] or "1"))
        text = "".join(tokens)
        if not tokens or "".join(m[0] for m in _ATOM.finditer(text)) != text:
            return None
        for symbol, count in _ATOM.findall(text):
            number = atomic_numbers.get("H" if symbol in ("D", "T") else symbol)
            if number is None:
                return None
            atoms[number] += factor * float(count or 1)  # type: ignore[assignment]
    return atoms, charge
