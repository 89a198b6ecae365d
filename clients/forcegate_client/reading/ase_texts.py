"""What ASE leaves out of the texts of other programs: charge and multiplicity.

ASE gives the atoms of these formats alone. What each of them says of charge and spin is looked up
in its text by the words of its program; of what else looks like a charge a remark tells. Files
that do not name elements are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ase.io.formats import ioformats

from forcegate_client.reading.errors import InputUnreadable
from forcegate_client.reading.record import RecordInvalid

__all__ = ["electrons_in_text", "require_elements"]

_NUMBER = r"([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)"
_LINES: dict[str, dict[str, str]] = {
    "abinit-in": {"charge": rf"^\s*(?:cell)?charge\s+{_NUMBER}"},
    "aims-output": {"charge": rf"\bCharge\s*=\s*{_NUMBER}\s*:\s*Charged system"},
    "castep-castep": {"charge": rf"net charge of system\s*:\s*{_NUMBER}"},
    "cjson": {
        "charge": rf'"totalCharge"\s*:\s*{_NUMBER}',
        "multiplicity": rf'"totalSpinMultiplicity"\s*:\s*{_NUMBER}',
    },
    "cp2k-restart": {
        "charge": rf"^\s*CHARGE\s+{_NUMBER}\s*$",
        "multiplicity": rf"^\s*MULTIPLICITY\s+{_NUMBER}\s*$",
    },
    "dftb": {"charge": rf"^\s*Charge\s*=\s*{_NUMBER}"},
    "espresso-in": {"charge": rf"\btot_charge\s*=\s*{_NUMBER}"},
    "gamess-us-out": {
        "charge": rf"CHARGE OF MOLECULE\s*=\s*{_NUMBER}",
        "multiplicity": rf"SPIN MULTIPLICITY\s*=\s*{_NUMBER}",
    },
    "gaussian-out": {
        "charge": rf"^\s*Charge\s*=\s*{_NUMBER}\s+Multiplicity\s*=",
        "multiplicity": rf"^\s*Charge\s*=\s*\S+\s+Multiplicity\s*=\s*{_NUMBER}",
    },
    "nwchem-in": {"charge": rf"^\s*charge\s+{_NUMBER}", "multiplicity": rf"^\s*mult\s+{_NUMBER}"},
    "nwchem-out": {
        "charge": rf"^\s*Charge\s+:\s*{_NUMBER}",
        "multiplicity": rf"^\s*Spin multiplicity\s*:\s*{_NUMBER}",
    },
    "octopus-in": {"charge": rf"^\s*ExcessCharge\s*=\s*{_NUMBER}"},
    "onetep-in": {"charge": rf"^\s*charge\s*:?\s*{_NUMBER}"},
    "orca-output": {
        "charge": rf"^\s*Total Charge\s+Charge\s+\.+\s*{_NUMBER}",
        "multiplicity": rf"^\s*Multiplicity\s+Mult\s+\.+\s*{_NUMBER}",
    },
}
_LINES["turbomole"] = _LINES["turbomole-gradient"] = {
    "charge": rf"^\s*\$eht\b.*\bcharge\s*=\s*{_NUMBER}",
    "unpaired": rf"^\s*\$eht\b.*\bunpaired\s*=\s*{_NUMBER}",
}
# Of all others: a charge that is not zero, said of the whole.
_DOUBTFUL = re.compile(
    r"(?:(?:total|net|tot|system|molecular)[ _-]?charge|^\W*charge)\"?\s*[=:]\s*\"?"
    r"([+-]?0*[1-9]\d*(?:\.0*)?)(?![\w.])",
    re.IGNORECASE,
)
# Files that number the kinds of their atoms, and where they say what these are.
_ELEMENTS = {
    "lammps-data": (re.compile(r"^\s*Masses\b"), "a section Masses"),
    "lammps-dump-text": (
        re.compile(r"^ITEM: ATOMS\b.*\b(?:element|mass)\b"),
        "a column element or mass",
    ),
}


def electrons_in_text(path: Path, format: str) -> tuple[dict[str, str], str]:
    """Charge and spin in a text of ASE's ``format``, as entries of ``info``; and a remark.

    Raises:
        RecordInvalid: if it says two different things, for several structures perhaps.
    """
    told: dict[str, str] = {}
    if format not in ioformats or ioformats[format].isbinary or format in ("db", "json"):
        return told, ""
    lines = [
        (name, re.compile(text, re.IGNORECASE)) for name, text in _LINES.get(format, {}).items()
    ]
    for number, line in enumerate(_text(path), 1):
        if not lines and (doubtful := _DOUBTFUL.search(line)):
            return {}, (
                f"line {number} of the file says {doubtful[0].strip()!r}, which is not read from "
                "this format, and the charge was taken for 0"
            )
        for name, pattern in lines:
            if not (found := pattern.search(line)):
                continue
            if float(told.setdefault(name, found[1])) != float(found[1]):
                raise RecordInvalid(
                    "charge_contradictory",
                    f"its file says {name} {told[name]} and {found[1]}; give each structure a file",
                )
    return told, ""


def require_elements(path: Path, name: str, format: str) -> None:
    """That a file says which elements its atoms are.

    Raises:
        InputUnreadable: if it only numbers or counts them.
    """
    if format == "cp2k-dcd":
        needed = "a format that names elements; DCD holds positions alone"
    elif format in _ELEMENTS and not any(map(_ELEMENTS[format][0].search, _text(path))):
        needed = _ELEMENTS[format][1]
    else:
        return
    raise InputUnreadable(
        f"{name}, which does not say what elements its atoms are",
        expected=needed,
        action="write it as extended XYZ with the program that knows them",
    )


def _text(path: Path) -> Iterator[str]:
    if not path.is_file():
        return
    with path.open(encoding="latin-1") as file:
        yield from file
