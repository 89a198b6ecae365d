"""One structure of the input: where it stands, what it is called, and its atoms or its problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from forcegate_client.electrons import electrons_of, tells_electrons
from forcegate_client.errors import ForcegateError
from forcegate_client.results import forget_results

__all__ = ["Origin", "Parsed", "Problem", "Record", "RecordInvalid", "read_record"]

_LONGEST = 300
# By how much atomic charges may miss a whole number together.
_ROUNDING = 0.02


@dataclass(frozen=True)
class Origin:
    """``source`` is the file as it was named, ``index`` the place in it, from 0.

    ``label`` is the name that the file gives, ``smiles`` the SMILES; both are empty without one.
    ``remark`` is what a result should be read with, if the record is odd but a structure.
    """

    source: str
    index: int
    label: str = ""
    smiles: str = ""
    remark: str = ""

    def __str__(self) -> str:
        name = f" ({self.label})" if self.label else ""
        return f"structure {self.index} of {self.source}{name}"


@dataclass(frozen=True)
class Problem:
    """Why there is no structure or no result: ``code`` for programs, ``detail`` for people."""

    code: str
    detail: str

    def at(self, origin: Origin) -> Problem:
        """With the place in the file before the detail."""
        return Problem(self.code, f"{origin}: {self.detail}")

    @staticmethod
    def of(document: Mapping[str, Any]) -> Problem:
        """What a server says of a structure, without its number in the request."""
        parts = [str(document.get("received") or document.get("detail") or "")]
        if document.get("expected"):
            parts.append(f"expected {document['expected']}")
        if document.get("action"):
            parts.append(str(document["action"]))
        return Problem(str(document.get("code", "no_answer")), "; ".join(filter(None, parts)))


@dataclass(frozen=True)
class Record:
    """Has either ``atoms`` or a ``problem``.

    A charge or multiplicity that the file tells is in ``atoms.info``; results that it holds
    (energies, forces, what forcegate noted) are left out.
    """

    origin: Origin
    atoms: Atoms | None = None
    problem: Problem | None = None

    @property
    def source(self) -> str:
        """The file, as it was named."""
        return self.origin.source

    @property
    def index(self) -> int:
        """The place in the file, from 0."""
        return self.origin.index

    @property
    def label(self) -> str:
        """The name in the file, or nothing."""
        return self.origin.label

    @property
    def smiles(self) -> str:
        """The SMILES in the file, or nothing."""
        return self.origin.smiles


@dataclass(frozen=True)
class Parsed:
    """What a parser makes of one record."""

    atoms: Atoms
    label: str = ""
    smiles: str = ""
    remark: str = ""


class RecordInvalid(Exception):
    """One record holds no structure; ``code`` says why in a word."""

    def __init__(self, code: str, detail: str, *, label: str = "", smiles: str = "") -> None:
        self.code = code
        self.label = label
        self.smiles = smiles
        super().__init__(detail)


def read_record(source: str, index: int, parse: Callable[[], Parsed]) -> Record:
    """The record that ``parse`` gives, or its problem; nothing is raised for a bad one."""
    parsed: Parsed | None = None
    try:
        parsed = parse()
        remark = parsed.remark or _remark_on_charges(parsed.atoms)
        forget_results(parsed.atoms)
        _require_structure(parsed.atoms)
    except RecordInvalid as error:
        problem = Problem(error.code, _one_line(str(error)))
        label, smiles = error.label, error.smiles
    except ForcegateError as error:
        problem = Problem(error.code, _one_line(str(error)))
        label = smiles = ""
    except Exception as error:
        # Parsers of other people fail in many ways; all of them mean the same.
        problem = Problem("record_unreadable", _one_line(f"{type(error).__name__}: {error}"))
        label = smiles = ""
    else:
        origin = Origin(source, index, _one_line(parsed.label), parsed.smiles, remark)
        return Record(origin, parsed.atoms)
    if parsed is not None:
        label, smiles = parsed.label, parsed.smiles
    return Record(Origin(source, index, _one_line(label), smiles), problem=problem)


def _require_structure(atoms: Atoms) -> None:
    """What no format may leave open, whatever it is."""
    if not len(atoms):
        raise RecordInvalid("record_unreadable", "no atoms")
    if (atoms.numbers <= 0).any():
        place = int(np.argmin(atoms.numbers))
        raise RecordInvalid("record_unreadable", f"atom {place} is of no element")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise RecordInvalid("record_unreadable", "positions or a cell that are no numbers")
    electrons_of(atoms)


def _remark_on_charges(atoms: Atoms) -> str:
    """That atomic charges, a result which nothing is taken from, are those of an ion."""
    values = atoms.arrays.get("charges")
    if (
        values is None
        or values.dtype.kind not in "if"
        or any(map(tells_electrons, map(str, atoms.info)))
    ):
        return ""
    total = float(values.sum())
    if not abs(total - round(total)) < _ROUNDING or not round(total):
        return ""
    return (
        f"its atomic charges add up to {total:+.3g}, and its charge was taken for 0; "
        f"write charge={round(total)}, if it is one"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]
