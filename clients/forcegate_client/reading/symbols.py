"""Elements, however a file writes them: symbols in any case, labels, atomic numbers, D and T."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from ase.data import atomic_masses, atomic_numbers

from forcegate_client.reading.record import RecordInvalid

__all__ = ["elements_of"]

_NUMBERS = {symbol: number for symbol, number in atomic_numbers.items() if number > 0}
# ``C1``, ``H12``, ``O_2``, ``N1A``; a sign would be a charge, which nobody should lose.
_LABEL = re.compile(r"([A-Za-z]{1,2})[\d_][\w'*]*")
_HEAVY = {"D": 2.01410177812, "T": 3.01604928178}


def elements_of(
    symbols: Sequence[str],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64] | None]:
    """Atomic numbers [N], and masses [N] in u if some are those of heavy hydrogen.

    Raises:
        RecordInvalid: if one of them is of no element.
    """
    numbers = [_NUMBERS.get(symbol, 0) for symbol in symbols]
    if all(numbers):
        return np.array(numbers, dtype=np.int64), None
    heavy: dict[int, float] = {}
    for place, (symbol, number) in enumerate(zip(symbols, numbers, strict=True)):
        if not number:
            bare = _bare(symbol)
            numbers[place] = 1 if bare in _HEAVY else _number(bare)
            if bare in _HEAVY:
                heavy[place] = _HEAVY[bare]
        if not numbers[place]:
            raise RecordInvalid(
                "record_unreadable", f"the symbol {symbol[:20]!r} of atom {place} is of no element"
            )
    found = np.array(numbers, dtype=np.int64)
    if not heavy:
        return found, None
    masses = atomic_masses[found]
    masses[list(heavy)] = list(heavy.values())
    return found, masses


def _bare(symbol: str) -> str:
    label = _LABEL.fullmatch(symbol)
    return label[1].capitalize() if label else symbol.capitalize()


def _number(symbol: str) -> int:
    if symbol.isascii() and symbol.isdigit() and len(symbol) < 4:
        return int(symbol) if int(symbol) < len(atomic_masses) else 0
    return int(_NUMBERS.get(symbol, 0))
