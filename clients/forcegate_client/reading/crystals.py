"""CIF through ASE, a block at a time; sites that are filled in part are refused."""

from __future__ import annotations

import io
import warnings
from array import array
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.io.cif import parse_cif

from forcegate_client.reading.indexed import pairs
from forcegate_client.reading.moieties import charge_of_moieties
from forcegate_client.reading.record import Parsed, RecordInvalid

__all__ = ["cif_records", "parse_cif_block"]

Int = npt.NDArray[np.int64]

_SITES = (b"_atom_site_fract_x", b"_atom_site_cartn_x")
_WHOLE = 1e-3


def cif_records(file: io.BufferedReader) -> Int:
    """Blocks (``data_…``) that have atoms; others describe a publication."""
    bounds = array("q")
    position = begin = 0
    text = filled = False
    for line in file:
        if line.startswith(b";"):
            text = not text
        elif not text and line[:5].lower() == b"data_":
            if filled:
                bounds.extend((begin, position))
            begin, filled = position, False
        elif not text and line.strip().lower().startswith(_SITES):
            filled = True
        position += len(line)
    if filled:
        bounds.extend((begin, position))
    return pairs(bounds)


def parse_cif_block(record: bytes) -> Parsed:
    """The unit cell with all atoms that symmetry makes.

    Raises:
        RecordInvalid: if there is no structure, a site is filled in part, or nobody can tell the
            charge from the formula.
    """
    with warnings.catch_warnings():
        # What ASE thinks of settings of space groups is nothing that a user can act on.
        warnings.simplefilter("ignore")
        blocks = list(parse_cif(io.StringIO(record.decode("utf-8-sig", "replace"))))
        if not blocks or not blocks[0].has_structure():
            raise RecordInvalid("record_unreadable", "no structure in this block")
        block = blocks[0]
        partial = [value for value in _occupancies(block) if abs(value - 1.0) > _WHOLE]
        if partial:
            raise RecordInvalid(
                "partial_occupancy",
                f"{len(partial)} sites with occupancies such as {partial[0]:g}; "
                "choose one of the arrangements that they stand for",
                label=block.name,
            )
        atoms = block.get_atoms(fractional_occupancies=False)
    formula = block.get("_chemical_formula_moiety")
    if not isinstance(formula, str):
        return Parsed(atoms, block.name)
    try:
        charge, remark = charge_of_moieties(" ".join(formula.split()), atoms.numbers)
    except RecordInvalid as error:
        raise RecordInvalid(error.code, str(error), label=block.name) from error
    if charge:
        atoms.info["charge"] = charge
    return Parsed(atoms, block.name, remark=remark)


def _occupancies(block: Any) -> list[float]:
    found = block.get("_atom_site_occupancy") or []
    return [float(value) for value in found if isinstance(value, int | float)]
