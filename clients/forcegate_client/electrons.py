"""Charge and multiplicity of an ASE structure, wherever its writer has put them.

Programs agree on no name: ``info`` may hold a charge as ``charge``, ``Charge`` or ``total_charge``
and a spin as ``multiplicity`` or ``spin``; others give each atom an initial charge or a magnetic
moment. This is the one place that reads them. What is not said is a neutral singlet; what is said
and cannot be read, or is said twice in different ways, is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms

from forcegate_client.errors import InvalidStructure

__all__ = ["NEUTRAL_SINGLET", "electrons_of", "plain_dashes", "tells_electrons"]

NEUTRAL_SINGLET = (0, 1)

# In lower case, without anything but letters and digits.
_CHARGE = frozenset(
    {
        *("charge", "totalcharge", "netcharge", "formalcharge", "molecularcharge"),
        *("moleculecharge", "systemcharge", "totcharge", "chargetotal", "overallcharge"),
        *("chg", "chrg", "qtot", "qtotal"),
    }
)
# A letter that stands for much else: of it only a whole number is a charge.
_MAYBE_CHARGE = frozenset({"q"})
# Columns of whole charges; ``charges`` are a result, and ``initial_charges`` ASE's own.
_FORMAL = frozenset({"formalcharge", "formalcharges"})
_MULTIPLICITY = frozenset(
    {
        *("multiplicity", "mult", "spinmultiplicity", "totalmultiplicity"),
        *("molecularmultiplicity", "2s1"),
    }
)
# 2S for some programs, 2S + 1 for others; the number of electrons tells which.
_SPIN = frozenset({"spin", "totalspin"})
_UNPAIRED = frozenset({"unpaired", "unpairedelectrons", "nunpaired", "uhf"})

_DASHES = str.maketrans("−–﹣－", "----")
_TRAILING = re.compile(r"\d+[+-]")

# By how much a sum of atomic charges or moments may miss a whole number: they were rounded.
_ROUNDING = 0.05
# No structure has more; what is beyond is a slip of the pen.
_LARGEST = 10_000

Told = list[tuple[str, int]]


def electrons_of(atoms: Atoms) -> tuple[int, int]:
    """Total charge in e, and multiplicity 2S + 1.

    Raises:
        InvalidStructure: if a charge or spin is no whole number, is impossible, or contradicts
            another one; it names the key and the value.
    """
    if not atoms.info and len(atoms.arrays) == 2:
        return NEUTRAL_SINGLET
    charge = _agreed(_charges(atoms), "charge", 0)
    return charge, _agreed(_multiplicities(atoms, charge), "multiplicity", 1)


def tells_electrons(key: str) -> bool:
    """Whether an entry of this name is a charge or a spin, in any spelling."""
    return _plain(key) in _CHARGE | _MAYBE_CHARGE | _MULTIPLICITY | _SPIN | _UNPAIRED


def _charges(atoms: Atoms) -> Told:
    told = [
        (_named(key, value), _whole(key, value, "charge")) for key, value in _info(atoms, _CHARGE)
    ]
    for key, value in _info(atoms, _MAYBE_CHARGE):
        with suppress(InvalidStructure):
            told.append((_named(key, value), _whole(key, value, "charge")))
    for array in ("initial_charges", *(name for name in atoms.arrays if _plain(name) in _FORMAL)):
        told += _summed(atoms, array, "charge", bool(told))
    return told


def _multiplicities(atoms: Atoms, charge: int) -> Told:
    told = [
        (_named(key, value), _whole(key, value, "multiplicity"))
        for key, value in _info(atoms, _MULTIPLICITY)
    ]
    told += [
        (_named(key, value), _whole(key, value, "multiplicity") + 1)
        for key, value in _info(atoms, _UNPAIRED)
    ]
    for key, value in _info(atoms, _SPIN):
        spin = _whole(key, value, "multiplicity")
        told.append((_named(key, value), _multiplicity_of(spin, atoms, charge)))
    unpaired = _summed(atoms, "initial_magmoms", "multiplicity", bool(told))
    told += [(name, abs(moment) + 1) for name, moment in unpaired]
    for name, multiplicity in told:
        if multiplicity < 1:
            raise InvalidStructure(
                name, expected="a multiplicity 2S + 1 of at least 1", code="multiplicity_invalid"
            )
    return told


def _multiplicity_of(spin: int, atoms: Atoms, charge: int) -> int:
    """2S + 1, whichever of the two ``spin`` is: an even number of electrons has an odd one."""
    electrons = int(atoms.numbers.sum()) - charge
    return spin if spin > 0 and (electrons + spin) % 2 == 1 else spin + 1


def _info(atoms: Atoms, names: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """The entries of ``info`` under any spelling of ``names``; ``None`` says nothing."""
    for key, value in atoms.info.items():
        if value is not None and isinstance(key, str) and _plain(key) in names:
            yield key, value


@lru_cache(maxsize=1024)
def _plain(key: str) -> str:
    return "".join(filter(str.isalnum, key)).lower()


def _summed(atoms: Atoms, array: str, what: str, is_told: bool) -> Told:
    """What the atoms add up to; nothing if all of them are zero, as many writers leave them.

    Beside a total that is told, partial charges and moments need not add up to a whole number.
    """
    values = atoms.arrays.get(array)
    if values is None or not np.any(values):
        return []
    total = np.asarray(values, dtype=np.float64).reshape(len(atoms), -1).sum(axis=0)
    # Moments may be vectors, of which a collinear sum is the length.
    value = float(total[0]) if len(total) == 1 else float(np.linalg.norm(total))
    name = f"{array} that add up to {value:.6g}"
    if not abs(value) <= _LARGEST or (not is_told and abs(value - round(value)) > _ROUNDING):
        raise InvalidStructure(
            name,
            expected="a whole number",
            action=f"set atoms.info[{what!r}]",
            code="charge_invalid" if what == "charge" else "multiplicity_invalid",
        )
    return [(name, round(value))]


def _whole(key: str, value: Any, what: str) -> int:
    """The whole number in ``value``: a number, an array of one, or text such as ``+1``."""
    number = math.nan
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str | int | float | np.integer | np.floating) and not isinstance(
        value, bool
    ):
        try:
            number = float(_signed(value) if isinstance(value, str) else value)
        except (ValueError, OverflowError):
            number = math.nan
    if not abs(number) <= _LARGEST or number != round(number):
        raise InvalidStructure(
            _named(key, value),
            expected="a whole number",
            action="correct it, or remove it if a neutral singlet is meant",
            code="charge_invalid" if what == "charge" else "multiplicity_invalid",
        )
    return round(number)


def plain_dashes(text: str) -> str:
    """The dashes with which word processors write a minus, as such."""
    return text.translate(_DASHES)


def _signed(text: str) -> str:
    """``2-``, ``(-1)``, ``+1e`` and dashes of word processors, as ``float`` takes them."""
    text = plain_dashes(text).strip()
    if (text[:1], text[-1:]) in (("(", ")"), ("[", "]")):
        text = text[1:-1].strip()
    text = text.removesuffix("e").strip()
    return text[-1] + text[:-1] if _TRAILING.fullmatch(text) else text


def _agreed(told: Told, what: str, default: int) -> int:
    if not told:
        return default
    name, value = told[0]
    for other_name, other in told[1:]:
        if other != value:
            raise InvalidStructure(
                f"{name} and {other_name}",
                expected=f"one {what}",
                action="remove the wrong one",
                code="charge_contradictory" if what == "charge" else "multiplicity_contradictory",
            )
    return value


def _named(key: str, value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    return f"{key}={str(value)[:40]!r}" if isinstance(value, str) else f"{key}={value!r:.60}"
