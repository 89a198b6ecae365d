"""The vocabulary of the dataset format: version, units, codes and resolutions.

One file holds F frames with N atoms in total, of M molecules. On disk:

======================  ==============  =======================================================
``offsets``             i64 [F+1]       atoms of frame f are ``offsets[f]:offsets[f+1]``
``atomic_numbers``      u8  [N]
``positions``           i32 [N,3]       in units of 1e-4 Å
``cells``               f64 [F,3,3]     Å, rows are lattice vectors; zeros along open axes
``pbc``                 bool [F,3]
``energies``            f64 [F]         eV; absent in an unlabelled file
``forces``              i32 [N,3]       in units of 1e-5 eV/Å; absent in an unlabelled file
``virials``             f64 [F,3,3]     eV, -dE/dstrain; optional
``molecule_id``         i64 [F]         row of the molecule table
``source``              u8  [F]         how the frame was made, see :class:`Source`
``temperature``         f64 [F]         K; ``NOT_THERMAL`` where no thermostat was involved
``flags``               u8  [F]         bits of :class:`Flag`
``molecules/smiles``    bytes [M]       also ``inchikey``, ``split_key``
``molecules/charge``    i64 [M]         also ``multiplicity``
``molecules/split``     u8  [M]         see :class:`Split`
======================  ==============  =======================================================

Every array carries the SHA-256 of its bytes; the file carries one over all of them.
"""

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION = 1

UNITS = {
    "length": "Å",
    "energy": "eV",
    "force": "eV/Å",
    "virial": "eV",
    "temperature": "K",
    "positions": "1e-4 Å",
    "forces": "1e-5 eV/Å",
}

# Whole numbers on purpose: dividing an integer by them gives the double nearest to the decimal,
# so that a position survives any number of round trips bit for bit.
POSITION_STEPS_PER_ANGSTROM = 10_000
FORCE_STEPS_PER_EV_PER_ANGSTROM = 100_000

NOT_THERMAL = -1.0


class Source(enum.IntEnum):
    """How a frame was made."""

    CONFORMER = 0
    LANGEVIN = 1  # molecular dynamics under a force field
    SETTLED = 2  # a force-field frame followed by a short run under the teacher
    TEACHER_MD = 3
    STRETCH = 4
    TORSION = 5
    DIMER = 6
    ON_POLICY = 7  # molecular dynamics under a student
    CAPTURED = 8  # met in production


class Split(enum.IntEnum):
    """Which part of the data a molecule belongs to."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


class Flag(enum.IntFlag):
    """What is remarkable about a frame, without being a reason to drop it."""

    PROTON_TRANSFER = 1


@dataclass(frozen=True)
class TeacherRecord:
    """Which method made the labels: its name, version and settings (JSON values only)."""

    name: str
    version: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Canonical JSON: equal records give equal strings."""
        return json.dumps(
            {"name": self.name, "version": self.version, "settings": dict(self.settings)},
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> "TeacherRecord":
        """The inverse of :meth:`to_json`."""
        content = json.loads(text)
        return cls(content["name"], content["version"], content["settings"])


def quantise_positions(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions (Å, any shape) rounded to what a file can hold; label these, not the originals."""
    return to_steps(positions, POSITION_STEPS_PER_ANGSTROM) / POSITION_STEPS_PER_ANGSTROM


def quantise_forces(forces: NDArray[np.float64]) -> NDArray[np.float64]:
    """Forces (eV/Å, any shape) rounded to what a file can hold."""
    return to_steps(forces, FORCE_STEPS_PER_EV_PER_ANGSTROM) / FORCE_STEPS_PER_EV_PER_ANGSTROM


def to_steps(values: NDArray[np.float64], steps_per_unit: int) -> NDArray[np.int32]:
    """Values as whole numbers of steps.

    Raises:
        ValueError: if a value is not finite or too large for 32 bits.
    """
    steps = np.rint(np.asarray(values, dtype=np.float64) * steps_per_unit)
    if not np.all(np.abs(steps) < np.iinfo(np.int32).max):
        limit = np.iinfo(np.int32).max / steps_per_unit
        raise ValueError(
            f"received values that are not finite or beyond ±{limit:.0f}, which the format cannot "
            "hold; drop such frames before they are stored"
        )
    return steps.astype(np.int32)
