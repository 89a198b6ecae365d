"""Frames of XYZ and extended XYZ; simple ones without the detour over ``Atoms``."""

from __future__ import annotations

import io
import re

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io.extxyz import read_xyz

from forcegate_client.electrons import SPOKEN_OF
from forcegate_client.screening.sources.records import RecordInvalid
from forcegate_client.structures import StructureBatch

__all__ = ["parse_frame"]

_NUMBERS = {symbol.encode(): number for symbol, number in atomic_numbers.items()}
# What says more than elements and positions is left to ASE.
_SPECIAL = re.compile(rb"lattice|pbc|cell|" + SPOKEN_OF.pattern, re.IGNORECASE)
_OPEN = b'pbc="F F F"'
_USUAL = re.compile(rb"^Properties=species:S:1:pos:R:3[:\s]|\sProperties=species:S:1:pos:R:3[:\s]")


def parse_frame(record: bytes) -> tuple[StructureBatch, str]:
    """The structure in one record.

    Raises:
        Exception: whatever ASE or numpy says of something else.
    """
    lines = record.split(b"\n")
    count, comment = int(lines[0]), lines[1].strip() + b" " if len(lines) > 1 else b""
    atoms = [line.split() for line in lines[2 : 2 + count]]
    if len(atoms) != count or not all(atoms):
        raise RecordInvalid("record_unreadable", f"{count} atoms announced, fewer lines")
    simple = not _SPECIAL.search(comment.replace(_OPEN, b""))
    if simple and (_USUAL.search(comment) or b"Properties=" not in comment):
        numbers = [_NUMBERS.get(atom[0], -1) for atom in atoms]
        if min(numbers, default=-1) > 0:
            positions = np.array([atom[1:4] for atom in atoms]).astype(np.float64)
            return (
                StructureBatch.open_neutral(
                    np.array([count]), np.array(numbers, dtype=np.int64), positions
                ),
                "",
            )
    frames = list(read_xyz(io.StringIO(record.decode()), index=slice(0, 1)))
    if not frames or not isinstance(frames[0], Atoms):
        raise RecordInvalid("record_unreadable", "no frame in this record")
    return StructureBatch.from_atoms(frames), ""
