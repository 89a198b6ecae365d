"""Models of PDB files: elements and charges from their columns, doubtful atoms refused."""

from __future__ import annotations

import io
from array import array

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.cell import Cell

from forcegate_client.reading.indexed import pairs
from forcegate_client.reading.record import Parsed, RecordInvalid
from forcegate_client.reading.symbols import elements_of

__all__ = ["PdbModels"]

Int = npt.NDArray[np.int64]

_ATOMS = (b"ATOM  ", b"HETATM")


class PdbModels:
    """The models of one file; ``records`` must have seen it before ``parse`` is asked."""

    def __init__(self) -> None:
        self._cell: Cell | None = None

    def records(self, file: io.BufferedReader) -> Int:
        """What lies between ``MODEL``, ``ENDMDL`` and ``END``, if there are atoms in it."""
        bounds = array("q")
        position = begin = 0
        filled = False
        for line in file:
            if line.startswith((b"END", b"MODEL ")):
                if filled:
                    bounds.extend((begin, position))
                begin, filled = position, False
            elif line.startswith(b"CRYST1"):
                self._cell = _cell(line)
            filled = filled or line.startswith(_ATOMS)
            position += len(line)
        if filled:
            bounds.extend((begin, position))
        return pairs(bounds)

    def parse(self, record: bytes) -> Parsed:
        """Atoms with the charges of columns 79 and 80; a cell as ``CRYST1`` says.

        Raises:
            RecordInvalid: if an element is unknown, or atoms are there in part.
            ValueError: if a coordinate is no number.
        """
        lines = [
            line.decode("latin-1").rstrip("\r\n")
            for line in record.split(b"\n")
            if line.startswith(_ATOMS)
        ]
        occupancies = [line[54:60].strip() for line in lines]
        told = {float(text) for text in occupancies if text}
        if len(told) > 1 or not told <= {0.0, 1.0} or any(line[16:17].strip() for line in lines):
            raise RecordInvalid(
                "partial_occupancy",
                "alternative locations or occupancies other than 1; keep one of each atom",
            )
        numbers, masses = elements_of([_element(line) for line in lines])
        atoms = Atoms(
            numbers=numbers,
            positions=[[float(line[a : a + 8]) for a in (30, 38, 46)] for line in lines],
            cell=self._cell,
            pbc=self._cell is not None,
        )
        if masses is not None:
            atoms.set_masses(masses)
        charge = sum(_charge(line[78:80].strip()) for line in lines)
        if charge:
            atoms.info["charge"] = charge
        return Parsed(atoms)


def _cell(line: bytes) -> Cell | None:
    sizes = [float(line[a:b]) for a, b in ((6, 15), (15, 24), (24, 33))]
    angles = [float(line[a:b]) for a, b in ((33, 40), (40, 47), (47, 54))]
    # What is no crystal has a cube of 1 Å, or nothing.
    return None if max(sizes) <= 1.0 else Cell.new(sizes + angles)


def _element(line: str) -> str:
    if told := line[76:78].strip():
        return told
    name = line[12:16]
    # One-letter elements begin in the second column of the name, long names of hydrogens do not.
    if name[:1].isalpha() and not (name.startswith("H") and name.strip() == name):
        return name[:2]
    return name.strip().lstrip("0123456789")[:1]


def _charge(text: str) -> int:
    """Of ``2-``, ``1+`` or ``-1``."""
    if not text:
        return 0
    digits = text.strip("+-") or "1"
    return -int(digits) if "-" in text else int(digits)
