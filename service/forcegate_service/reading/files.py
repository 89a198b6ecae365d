"""Asks a process of its own for the structures in a file, and ends it when it takes too long."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from pydantic import BaseModel, Field

from forcegate_client.errors import TooManyRequests, UnprocessableRequest

__all__ = ["FORMATS", "MAX_BYTES", "WITHIN_S", "FileReader", "FoundStructures"]

# By the ends of names, each with what it is for people. XYZ is read by `/v1/predict` itself.
FORMATS = {
    "smi": "SMILES",
    "sdf": "SDF and MOL files",
    "mol2": "mol2 files",
    "pdb": "PDB files",
    "cif": "CIF files",
    "traj": "ASE's trajectories",
    "xyz": "XYZ files",
}
MAX_BYTES = 8_000_000
MOST_STRUCTURES = 1_000
MOST_ATOMS = 100_000
WITHIN_S = 60
_AT_ONCE = 2


class FoundStructure(BaseModel):
    """One structure as a prediction takes it, with its name and what it should be read with."""

    label: str
    remark: str
    atomic_numbers: list[int]
    positions: list[tuple[float, float, float]] = Field(description="Å")
    cell: list[tuple[float, float, float]] | None = Field(description="rows are vectors, Å")
    pbc: tuple[bool, bool, bool]
    charge: int = Field(description="e")
    multiplicity: int


class RecordProblem(BaseModel):
    """A record that holds no structure: its place in the file, and why."""

    index: int
    label: str
    code: str
    detail: str


class FoundStructures(BaseModel):
    """What a file holds; ``left_out`` records are beyond what one answer may have."""

    structures: list[FoundStructure]
    problems: list[RecordProblem]
    left_out: int


class FileReader:
    """Reads few files at a time, each in a process that is ended with the request."""

    def __init__(self) -> None:
        self._running = 0

    async def read(self, body: bytes, format: str) -> bytes:
        """The JSON of ``FoundStructures``.

        Raises:
            UnprocessableRequest: if the format is unknown, or there is no structure in it.
            TooManyRequests: if others are being read.
        """
        if format not in FORMATS:
            raise UnprocessableRequest(
                f"the format {format[:20]!r}",
                expected=f"one of {', '.join(FORMATS)}",
                action="give the end that the name of such a file has, as ?format=sdf",
                code="format_unsupported",
            )
        if self._running >= _AT_ONCE:
            raise TooManyRequests(
                f"a file while {self._running} others are being read",
                expected=f"at most {_AT_ONCE} at a time",
                action="try again after retry_after_s",
                retry_after_s=1.0,
            )
        self._running += 1
        try:
            answer, status = await _ask(body, format)
        finally:
            self._running -= 1
        found = json.loads(answer) if status == 0 else None
        if found is None:
            raise _unreadable(
                f"{FORMATS[format]} whose reader ended unfinished ({status})",
                "a file that is read in 4 GiB of memory",
            )
        if "refused" in found:
            raise _refusal(found, format)
        if not found["structures"]:
            detail = found["problems"][0]["detail"] if found["problems"] else "too many atoms"
            raise _unreadable(detail, f"a structure of at most {MOST_ATOMS} atoms")
        return answer


def _refusal(found: dict[str, Any], format: str) -> UnprocessableRequest:
    if found["refused"] == "package_missing":
        return UnprocessableRequest(
            f"{FORMATS[format]}, which this gateway cannot read: it is {found['received']}",
            expected="XYZ, PDB, CIF or ASE's trajectories",
            action="send one of these, or ask whoever runs this gateway to install RDKit beside it",
            code="format_unsupported",
        )
    return _unreadable(found["received"], found["expected"])


def _unreadable(received: str, expected: str) -> UnprocessableRequest:
    return UnprocessableRequest(
        received, expected=expected, action="correct what was sent", code="input_unreadable"
    )


async def _ask(body: bytes, format: str) -> tuple[bytes, int | None]:
    """What the process writes, and how it ended; it ends with whoever waits for it."""
    arguments = [format, str(WITHIN_S), str(MOST_STRUCTURES), str(MOST_ATOMS)]
    # Settings may hold secrets, and parsers need none of them.
    told = {name: text for name, text in os.environ.items() if not name.startswith("FORCEGATE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "forcegate_service.reading.child", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Parsers print what they were given.
        stderr=asyncio.subprocess.DEVNULL,
        env=told | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        answer, _ = await process.communicate(body)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return answer, process.returncode
