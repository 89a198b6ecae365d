"""The vocabulary of the dataset format: version, units, codes and resolutions.

One file holds F frames with N atoms in total, of M molecules. On disk:

======================  ==============  =======================================================
``offsets``             i64 [F+1]       atoms of frame f are ``offsets[f]:offsets[f+1]``
``atomic_numbers``      u8  [N]
``positions``           i32 [N,3]       in units of 1e-4 Å
``cells``               f64 [F,3,3]     Å, rows are lattice vectors; zeros along open axes
``pbc``                 bool [F,3]
``energies``            f64 [F]         eV; absent in an unlabelled file
``forces``              i32 [N,3]       in units of 1e-5 eV/Å; i16 in units of 1e-3 where all of
                                        them are whole numbers of it; absent in an unlabelled file
``virials``             f64 [F,3,3]     eV, -dE/dstrain; optional
``charge``              i8  [F]         net charge in e, that of the frame's molecule
``charges``             i16 [N]         atomic charges in units of 1e-4 e; optional
``force_spread``        f32 [F]         eV/Å, of the force that the teacher knows worst; optional
``fragment``            u8  [N]         which part of ``A.B`` an atom belongs to, from 0
``separated_energies``  f64 [F]         eV, of the parts of ``A.B`` each alone; optional
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

SCHEMA_VERSION = 3
# Files of version 1 lack what is listed here after `virials`; nothing in them means another thing.
READABLE_VERSIONS = (1, 3)

UNITS = {
    "length": "Å",
    "energy": "eV",
    "force": "eV/Å",
    "virial": "eV",
    "temperature": "K",
    "charge": "e",
    "positions": "1e-4 Å",
    "forces": "1e-5 eV/Å, or 1e-3 eV/Å in 16 bits",
    "charges": "1e-4 e",
}

# Whole numbers on purpose: dividing an integer by them gives the double nearest to the decimal,
# so that a position survives any number of round trips bit for bit.
POSITION_STEPS_PER_ANGSTROM = 10_000
FORCE_STEPS_PER_EV_PER_ANGSTROM = 100_000
COARSE_FORCE_STEPS = 1_000
CHARGE_STEPS_PER_E = 10_000
# How a charge that is not known is stored; far beyond any that an atom can have.
UNKNOWN_CHARGE_STEPS = -32_768

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
    CONTACT = 9  # two molecules in an oriented contact
    CLUSTER = 10  # three molecules or more
    IMPORTED = 11  # labelled elsewhere


class Split(enum.IntEnum):
    """Which part of the data a molecule belongs to."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


class Flag(enum.IntFlag):
    """What is remarkable about a frame, without being a reason to drop it."""

    PROTON_TRANSFER = 1
    # The teacher moved charge from one part of a complex to another.
    CHARGE_TRANSFER = 2
    # Too far apart for the teacher: labels are of the parts, their Coulomb energy and dispersion.
    SEPARATED = 4


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


def quantise_charges(charges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Atomic charges (e) rounded to what a file can hold; NaN, not known, stays."""
    return from_charge_steps(to_charge_steps(charges))


def to_force_steps(forces: NDArray[np.float64]) -> NDArray[np.int32] | NDArray[np.int16]:
    """Forces (eV/Å) as whole numbers of 1e-5 eV/Å, or in half the bytes of 1e-3 if they are such.

    Raises:
        ValueError: if one is not finite or too large for 32 bits.
    """
    coarse = np.rint(forces * COARSE_FORCE_STEPS)
    fits = bool(np.all(np.abs(coarse) <= np.iinfo(np.int16).max))
    if fits and np.array_equal(coarse / COARSE_FORCE_STEPS, forces):
        return coarse.astype(np.int16)
    return to_steps(forces, FORCE_STEPS_PER_EV_PER_ANGSTROM)


def from_force_steps(steps: NDArray[np.int32] | NDArray[np.int16]) -> NDArray[np.float64]:
    """The inverse of :func:`to_force_steps`."""
    coarse = steps.dtype == np.int16
    forces: NDArray[np.float64] = steps / (
        COARSE_FORCE_STEPS if coarse else FORCE_STEPS_PER_EV_PER_ANGSTROM
    )
    return forces


def to_charge_steps(charges: NDArray[np.float64]) -> NDArray[np.int16]:
    """Charges (e, NaN where not known) as whole numbers of 1e-4 e.

    Raises:
        ValueError: if one is beyond what an atom can have and the format can hold, ±3.2 e.
    """
    unknown = np.isnan(charges)
    steps = np.rint(np.where(unknown, 0.0, charges) * CHARGE_STEPS_PER_E)
    limit = -UNKNOWN_CHARGE_STEPS - 1
    if not np.all(np.abs(steps) <= limit):
        raise ValueError(
            f"received atomic charges beyond ±{limit / CHARGE_STEPS_PER_E} e; drop such frames "
            "before they are stored"
        )
    return np.where(unknown, UNKNOWN_CHARGE_STEPS, steps).astype(np.int16)


def from_charge_steps(steps: NDArray[np.int16]) -> NDArray[np.float64]:
    """The inverse of :func:`to_charge_steps`."""
    unknown = steps == UNKNOWN_CHARGE_STEPS
    return np.where(unknown, np.nan, steps / CHARGE_STEPS_PER_E)


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
