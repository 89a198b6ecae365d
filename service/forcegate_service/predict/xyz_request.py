"""XYZ as a request to ``POST /v1/predict``: what people have lying about, sent as it is.

    curl -H 'Content-Type: chemical/x-xyz' --data-binary @water.xyz 'http://…/v1/predict?model=…'

The structures are those of ``forcegate predict``, read by the same reader: several frames, extended
XYZ with cell, axes, charge and multiplicity. What a file has no place for stands in the query.
"""

from __future__ import annotations

import io
import re
from typing import get_args
from urllib.parse import parse_qsl

import numpy as np
from ase import Atoms

from forcegate_client.checks.structures import Problems
from forcegate_client.electrons import electrons_of
from forcegate_client.errors import (
    InvalidStructure,
    MalformedBody,
    PayloadTooLarge,
    UnprocessableRequest,
)
from forcegate_client.messages import OnError, PredictRequest
from forcegate_client.reading.record import Record, read_record
from forcegate_client.reading.xyz import parse_frame, xyz_records
from forcegate_client.structures import StructureBatch
from forcegate_service.predict.prepare import check_size
from forcegate_service.settings import Settings

__all__ = ["read_xyz"]

_PARAMETERS = ("model", "version", "properties", "on_error")
# A comment of extended XYZ has some hundred bytes.
_LONGEST_LINE = 16_384
_LONG_LINE = re.compile(rb"[^\n]{%d}" % (_LONGEST_LINE + 1))


def read_xyz(body: bytes, query: bytes, settings: Settings) -> tuple[PredictRequest, Problems]:
    """The request; frames that hold no structure come back as problems.

    Raises:
        MalformedBody: if there is no frame at all.
        UnprocessableRequest: if a parameter is unknown, repeated, or not one of those allowed.
        PayloadTooLarge: if there are too many lines, words, atoms or structures.
    """
    asked = _parameters(query)
    _check_bounds(body, settings)
    bounds = xyz_records(io.BufferedReader(io.BytesIO(body)))
    if not len(bounds):
        raise MalformedBody(
            f"{len(body)} bytes without a frame of XYZ",
            expected="a line with the number of atoms, a comment, and a line for each atom",
            action="send the file as it is; with curl: --data-binary @water.xyz",
        )
    check_size(len(bounds), 0, settings)
    problems: Problems = {}
    structures: list[Atoms] = []
    ids: list[str] = []
    remarks: dict[int, str] = {}
    for index, (start, stop) in enumerate(bounds.tolist()):
        frame = body[start:stop]
        record = read_record("the body", index, lambda frame=frame: parse_frame(frame))  # type: ignore[misc]
        structures.append(_structure(record))
        ids.append(record.label)
        if record.origin.remark:
            remarks[index] = record.origin.remark
        if record.problem is not None:
            problems[index] = InvalidStructure(
                record.problem.detail,
                expected="a frame of XYZ or extended XYZ",
                action="correct the frame; the others are not affected under on_error=partial",
                code=record.problem.code,
                structure=index,
            )
    batch = StructureBatch.from_atoms(structures)
    check_size(len(batch), batch.total_atoms, settings)
    properties = asked.get("properties", "energy,forces")
    request = PredictRequest(
        structures=batch,
        model=asked.get("model", "default"),
        version=asked.get("version"),
        properties=tuple(name.strip() for name in properties.split(",")),
        on_error="partial" if asked.get("on_error") == "partial" else "raise",
        ids=tuple(ids),
        remarks=remarks,
    )
    return request, problems


def _structure(record: Record) -> Atoms:
    """Of what the file says only what is asked about: the rest may be large."""
    if record.atoms is None:
        # A structure with a problem keeps its place with no atoms.
        return Atoms()
    atoms = record.atoms
    charge, multiplicity = electrons_of(atoms)
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if (charge, multiplicity) != (0, 1):
        bare.info = {"charge": charge, "multiplicity": multiplicity}
    return bare


def _parameters(query: bytes) -> dict[str, str]:
    pairs = parse_qsl(query[:8192].decode("latin-1"), keep_blank_values=True)
    names = [name for name, _ in pairs]
    wrong = [name for name in names if name not in _PARAMETERS or names.count(name) > 1]
    if wrong:
        repeated = wrong[0] in _PARAMETERS
        raise UnprocessableRequest(
            f"the parameter {wrong[0][:80]!r}{' twice' if repeated else ''} in the URL",
            expected=f"some of {', '.join(_PARAMETERS)}, each once",
            action="for instance ?model=default&properties=energy,forces&on_error=partial",
            code="field_repeated" if repeated else "field_unknown",
        )
    found = dict(pairs)
    if found.get("on_error", "raise") not in get_args(OnError):
        raise UnprocessableRequest(
            f"on_error={found['on_error'][:80]!r}",
            expected="raise or partial",
            action="correct on_error or leave it out",
            code="on_error_unknown",
        )
    return found


def _check_bounds(body: bytes, settings: Settings) -> None:
    """Count what would be made of ``body`` before anything is."""
    blank = np.frombuffer(body, np.uint8) <= ord(" ")
    words = int(np.count_nonzero(blank[1:] & ~blank[:-1])) + 1
    atoms, structures = settings.max_atoms, settings.max_structures
    for count, limit, what in (
        (body.count(b"\n"), atoms + 4 * structures + 1000, "lines"),
        (words, 12 * atoms + 64 * structures + 1000, "words"),
    ):
        if count > limit:
            raise PayloadTooLarge(
                f"a body of {count} {what}",
                expected=f"at most {limit}",
                action="split the file, and leave out columns that are not needed",
                code="too_many_values",
            )
    if _LONG_LINE.search(body):
        raise PayloadTooLarge(
            f"a line of more than {_LONGEST_LINE} bytes",
            expected="lines of XYZ",
            action="send an XYZ file",
            code="too_many_values",
        )
