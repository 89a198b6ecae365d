"""Frames of XYZ and extended XYZ, in the dialects in which programs write them."""

from __future__ import annotations

import io
import re
from array import array
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian
from ase.io.extxyz import key_val_str_to_dict

from forcegate_client.reading.comments import electrons_in, remark_on, with_plain_pairs
from forcegate_client.reading.indexed import pairs
from forcegate_client.reading.names import label_of, smiles_of
from forcegate_client.reading.record import Parsed, RecordInvalid
from forcegate_client.reading.symbols import elements_of

__all__ = ["parse_frame", "xyz_records"]

Int = npt.NDArray[np.int64]
Rows = list[list[str]]

_PLAIN = "species:S:1:pos:R:3"
# A comment is that of extended XYZ if it says so, or if it is nothing but key=value.
_EXTENDED = re.compile(r"\b(Properties|Lattice|pbc)\s*=", re.IGNORECASE)
_PAIR = r"""[\w./-]+=("[^"]*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|[^\s"'{\[]\S*)"""
_PAIRS = re.compile(rf"\s*{_PAIR}(\s+{_PAIR})*\s*")
_ATOM = re.compile(
    rb"([A-Za-z][\w'*+-]{0,7}|\d{1,3})\s+[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?(\s|$)"
)
_FORTRAN = str.maketrans("dD", "ee")
_TRUTH = {"T": True, "True": True, "F": False, "False": False}
# As ASE names the columns of extended XYZ.
_ARRAYS = {"species": "symbols", "pos": "positions", "Z": "numbers", "charge": "charges"}


def xyz_records(file: io.BufferedReader) -> Int:
    """Frames: a line that is a count of atoms, a comment, and the lines up to the next count.

    So a count that does not fit spoils its own frame alone. After as many lines as were counted,
    atoms that follow at once belong to the frame, whose count is wrong; what follows otherwise is a
    broken record of its own. Without any count there are no frames.
    """
    bounds = array("q")
    begin: int | None = None
    position = left = 0
    counted = comment = ended = False
    doubtful: tuple[int, int] | None = None
    for line in file:
        bare = line.strip() if position else line.strip().removeprefix(b"\xef\xbb\xbf")
        is_count = bare.isdigit()
        if doubtful is not None and not _is_atom(bare):
            # A comment that was a number, and no atom after it: it was the count.
            bounds.extend((begin or 0, doubtful[0]))
            begin, left = doubtful
            comment = True
        if comment:
            doubtful = (position, int(bare[:12])) if is_count else None
            comment = False
        elif is_count:
            if begin is not None:
                bounds.extend((begin, position))
            begin, left, comment, counted = position, int(bare[:12]), True, True
        elif bare and (begin is None or (left == 0 and (ended or not _is_atom(bare)))):
            if begin is not None:
                bounds.extend((begin, position))
            begin, left, doubtful = position, -1, None
        else:
            doubtful = None
            # A blank line after the last atom ends the frame.
            ended = left == 0 and not bare
            left -= left > 0
        position += len(line)
    if begin is not None and counted:
        bounds.extend((begin, position))
    return pairs(bounds)


def _is_atom(line: bytes) -> bool:
    return _ATOM.match(line) is not None


def parse_frame(record: bytes) -> Parsed:
    """The structure in one frame, with all entries of its comment and columns.

    Raises:
        RecordInvalid: if count, columns or symbols are not those of a structure.
        ValueError: if what should be a number is none.
    """
    lines = record.decode("utf-8-sig", "replace").replace("\r\n", "\n").split("\n")
    comment = lines[1] if len(lines) > 1 else ""
    info = _info(comment)
    label = comment.strip() if info is None else label_of(info)
    rows = [line.split() for line in lines[2:]]
    while rows and not rows[-1]:
        rows.pop()
    if not lines[0].strip().isdigit():
        raise RecordInvalid(
            "record_unreadable", f"{lines[0].strip()[:60]!r} where a count of atoms should be"
        )
    if int(lines[0]) != len(rows):
        raise RecordInvalid(
            "record_unreadable",
            f"the count says {lines[0].strip()[:20]} atoms, and {len(rows)} lines follow",
            label=label,
        )
    if not rows:
        raise RecordInvalid("record_unreadable", "no atoms", label=label)
    try:
        if info is None:
            atoms = _atoms(_columns(rows, _PLAIN), {})
            atoms.info, remark = electrons_in(comment, atoms.numbers)
        else:
            atoms = _atoms(_columns(rows, str(info.pop("Properties", _PLAIN))), info)
            remark = remark_on(atoms.info)
    except RecordInvalid as error:
        raise RecordInvalid(error.code, str(error), label=label) from error
    return Parsed(atoms, label, smiles_of(atoms.info), remark)


def _info(comment: str) -> dict[str, Any] | None:
    """The entries of an extended comment; None if it is a plain one."""
    if _EXTENDED.search(comment) or _PAIRS.fullmatch(comment):
        found: dict[str, Any] = key_val_str_to_dict(with_plain_pairs(comment))
        return found
    return None


def _columns(rows: Rows, properties: str) -> dict[str, Any]:
    """Arrays by ASE's names, as ``Properties`` (``name:type:columns:…``) describes them."""
    fields = properties.split(":")
    widths = [int(width) for width in fields[2::3]]
    if len(fields) != 3 * len(widths) or min(widths) < 1:
        raise RecordInvalid("record_unreadable", f"Properties={properties[:60]}")
    needed = sum(widths)
    arrays: dict[str, Any] = {}
    for place, row in enumerate(rows):
        if len(row) < needed:
            raise RecordInvalid(
                "record_unreadable",
                f"{len(row)} columns for atom {place}, expected at least {needed}",
            )
    start = 0
    for name, kind, width in zip(fields[::3], fields[1::3], widths, strict=True):
        stop = start + width
        array = _values([row[start:stop] for row in rows], kind)
        arrays[_ARRAYS.get(name, name)] = array[:, 0] if width == 1 else array
        start = stop
    return arrays


def _values(texts: Rows, kind: str) -> npt.NDArray[Any]:
    if kind == "S":
        return np.array(texts, dtype=object).reshape(len(texts), -1)
    if kind == "L":
        return np.array([[_TRUTH[text] for text in row] for row in texts])
    if kind == "I":
        return np.array([[int(text) for text in row] for row in texts])
    try:
        return np.array([[float(text) for text in row] for row in texts])
    except ValueError:
        # Fortran writes 1.0D-03.
        return np.array([[float(text.translate(_FORTRAN)) for text in row] for row in texts])


def _atoms(arrays: dict[str, Any], info: dict[str, Any]) -> Atoms:
    lattice = info.pop("Lattice", None)
    pbc = info.pop("pbc", lattice is not None)
    masses = None
    if "symbols" in arrays:
        numbers, masses = elements_of(arrays.pop("symbols").tolist())
        arrays.pop("numbers", None)
    else:
        numbers = arrays.pop("numbers")
    atoms = Atoms(
        numbers=numbers,
        positions=arrays.pop("positions"),
        cell=None if lattice is None else np.asarray(lattice).T,
        pbc=pbc,
        info=info,
    )
    free = arrays.pop("move_mask", None)
    if free is not None:
        atoms.set_constraint(_fixed(free.astype(bool)))
    for name, values in arrays.items():
        atoms.set_array(name, values)
    if masses is not None and "masses" not in arrays:
        atoms.set_masses(masses)
    return atoms


def _fixed(free: npt.NDArray[np.bool_]) -> Any:
    if free.ndim == 1:
        return FixAtoms(mask=~free)
    return [FixCartesian(place, mask=~row) for place, row in enumerate(free) if not row.all()]
