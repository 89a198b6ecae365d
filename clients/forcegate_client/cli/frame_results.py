"""What became of each frame: one record for tables, extended XYZ, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ase import Atoms

from forcegate_client.messages import UNITS
from forcegate_client.reading.record import Origin, Problem, Record
from forcegate_client.remarks import Judge
from forcegate_client.results import forget_results

__all__ = ["FrameResult", "as_csv", "as_json", "frames_of", "headings", "names_of"]

_UNITS = {
    name: UNITS[name]
    for name in ("energy", "energy_uncertainty", "max_novelty", "net_charge", "dipole")
} | {
    "max_force": UNITS["forces"],
}


@dataclass
class FrameResult:
    """``origin`` says which structure of the input it is; energies in eV, forces in eV/Å.

    ``net_charge`` in e is the sum of atomic charges, ``dipole`` in e·Å the length of the moment.

    ``atoms`` carries energy and forces in its calculator if they were computed, and is ``None`` if
    no structure could be read. ``problem`` is the code of what failed, ``detail`` says it in words.
    What is not known is ``None``; ``converged`` and ``steps`` are those of relaxations.
    """

    origin: Origin
    formula: str = ""
    atoms: Atoms | None = None
    energy: float | None = None
    max_force: float | None = None
    energy_uncertainty: float | None = None
    max_novelty: float | None = None
    net_charge: float | None = None
    dipole: float | None = None
    energy_change: float | None = None
    steps: int | None = None
    converged: bool | None = None
    problem: str | None = None
    detail: str | None = None
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, record: Record) -> FrameResult:
        """Of a record that was read and not computed yet; one that could not be has its problem."""
        remarks = [record.origin.remark] if record.origin.remark else []
        result = cls(record.origin, atoms=record.atoms, warnings=remarks)
        if record.atoms is not None:
            result.formula = record.atoms.get_chemical_formula()
        if record.problem is not None:
            result.fail(record.problem)
        return result

    def fail(self, problem: Problem) -> None:
        """There is no result, for this reason."""
        self.problem, self.detail = problem.code, problem.at(self.origin).detail

    @property
    def remarks(self) -> list[str]:
        """What stands beside it in a table."""
        return [self.detail or self.problem, *self.warnings] if self.problem else self.warnings

    def to_dict(self) -> dict[str, Any]:
        """All of it but the atoms; ``None`` is what is not known."""
        values = {n: value for n, value in vars(self).items() if n not in ("atoms", "origin")}
        place = {"index": self.origin.index, "source": self.origin.source}
        names = {"label": self.origin.label or None, "smiles": self.origin.smiles or None}
        return place | names | values | {"warnings": list(self.warnings)}


def frames_of(results: Sequence[FrameResult], judge: Judge | None) -> list[Atoms]:
    """The structures that there are, with what is known of each in its ``info``.

    A key is there only where it has a value.
    """
    return [_annotated(result, judge) for result in results if result.atoms is not None]


def headings(results: Sequence[FrameResult]) -> list[str]:
    """What tells the rows of a table apart: files if there are several, labels if there are any."""
    several = len({result.origin.source for result in results}) > 1
    labelled = any(result.origin.label for result in results)
    return ["frame", *["file"] * several, *["label"] * labelled, "formula"]


def names_of(result: FrameResult, columns: Sequence[str]) -> list[str]:
    """The cells of ``headings``."""
    origin = result.origin
    cells = {
        "frame": str(origin.index),
        "file": origin.source,
        "label": origin.label,
        "formula": result.formula,
    }
    return [cells[heading] for heading in columns]


def _annotated(result: FrameResult, judge: Judge | None) -> Atoms:
    assert result.atoms is not None
    frame = result.atoms.copy()
    forget_results(frame)
    frame.calc = result.atoms.calc
    known = {
        "forcegate_source": result.origin.source,
        "forcegate_index": result.origin.index,
        "forcegate_label": result.origin.label or None,
        "forcegate_smiles": result.origin.smiles or None,
        "forcegate_model": None if judge is None else f"{judge.model} {judge.version}",
        "forcegate_version": None if judge is None else judge.version,
        "forcegate_digest": None if judge is None else judge.digest,
        "forcegate_problem": result.problem,
        "forcegate_detail": result.detail,
        "forcegate_warning": " | ".join(result.warnings) or None,
        "forcegate_converged": result.converged,
        "forcegate_steps": result.steps,
        "forcegate_energy_change": result.energy_change,
        "energy_uncertainty": result.energy_uncertainty,
        "max_novelty": result.max_novelty,
    }
    frame.info |= {name: value for name, value in known.items() if value is not None}
    return frame


def as_json(results: Sequence[FrameResult], judge: Judge | None, *, complete: bool) -> str:
    """A document: which weights, units, and an object for each frame."""
    served = None
    if judge is not None:
        served = {
            "name": judge.model,
            "version": judge.version,
            "digest": judge.digest,
            "status": dict(judge.status),
            "novelty_limit": judge.novelty_limit,
        }
    frames = [_known_or_null(result.to_dict()) for result in results]
    document = {"model": served, "units": _UNITS, "complete": complete, "frames": frames}
    return json.dumps(document, indent=1, ensure_ascii=False)


def as_csv(results: Sequence[FrameResult], judge: Judge | None) -> str:
    """A line for each frame, under a line of names; empty is what is not known."""
    text = io.StringIO()
    columns = list(FrameResult(Origin("", 0)).to_dict())
    model = {} if judge is None else {"version": judge.version, "digest": judge.digest}
    names = [*columns, "model", "version", "digest"]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for result in results:
        row = result.to_dict() | {"warnings": " | ".join(result.warnings)} | model
        writer.writerow(row | {"model": None if judge is None else judge.model})
    return text.getvalue()


def _known_or_null(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no word for a number that is none."""
    return {n: None if isinstance(v, float) and v - v != 0.0 else v for n, v in row.items()}
