"""The process that reads one file: its bytes on standard input, a JSON document on standard output.

It has a limit of memory and of processor time, and a low priority: whoever predicts comes first.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from forcegate_client.electrons import electrons_of
from forcegate_client.errors import ForcegateError
from forcegate_client.reading.formats import format_of
from forcegate_client.reading.inputs import Input
from forcegate_client.reading.library import Library, open_library
from forcegate_client.reading.record import Record

__all__ = ["main", "read"]

_MEMORY_BYTES = 4 << 30
_NICE = 5
# Read at once, so that no more than these are objects at a time.
_CHUNK = 50


def read(body: bytes, format: str, most_structures: int, most_atoms: int) -> dict[str, Any]:
    """``structures``, ``problems`` of records that hold none, and how many were ``left_out``."""
    # Without a name, so that nothing is left behind whatever happens to this process.
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.flush()
        path = Path(f"/dev/fd/{file.fileno()}")
        library = open_library([Input(path, f"what was sent as {format}", format_of(path, format))])
        return _taken(library, most_structures, most_atoms)


def _taken(library: Library, most_structures: int, most_atoms: int) -> dict[str, Any]:
    structures: list[dict[str, Any]] = []
    problems: list[dict[str, Any]] = []
    atoms = 0
    for start in range(0, library.size, _CHUNK):
        for number, record in enumerate(library.read(start, min(start + _CHUNK, library.size))):
            if record.atoms is None:
                problems.append(_problem(record, start + number))
            else:
                atoms += len(record.atoms)
                if atoms > most_atoms:
                    break
                structures.append(_structure(record))
            if len(structures) + len(problems) == most_structures:
                break
        else:
            continue
        break
    left_out = library.size - len(structures) - len(problems)
    return {"structures": structures, "problems": problems, "left_out": left_out}


def _structure(record: Record) -> dict[str, Any]:
    atoms = record.atoms
    assert atoms is not None
    charge, multiplicity = electrons_of(atoms)
    return {
        "label": record.label,
        "remark": record.origin.remark,
        "atomic_numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.round(6).tolist(),
        "cell": atoms.cell.tolist() if atoms.cell.rank else None,
        "pbc": atoms.pbc.tolist(),
        "charge": charge,
        "multiplicity": multiplicity,
    }


def _problem(record: Record, index: int) -> dict[str, Any]:
    assert record.problem is not None
    found = record.problem
    return {"index": index, "label": record.label, "code": found.code, "detail": found.detail}


def main() -> None:
    """Read what standard input holds."""
    format, seconds, most_structures, most_atoms = sys.argv[1:]
    os.nice(_NICE)
    limits = {
        resource.RLIMIT_AS: _MEMORY_BYTES,
        # Of all cores together; the caller's clock ends what waits.
        resource.RLIMIT_CPU: int(seconds) * (os.cpu_count() or 1),
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if hard < 0 else min(limit, hard), hard))
    # What libraries print must not get among the answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        found = read(sys.stdin.buffer.read(), format, int(most_structures), int(most_atoms))
    except ForcegateError as error:
        found = {"refused": error.code, "received": error.received, "expected": error.expected}
    with answer:
        json.dump(found, answer)


if __name__ == "__main__":
    main()
