"""Which structures of a screening failed and why, and what was remarked on the others, as text."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py

from forcegate_client.screening.manifest import Manifest
from forcegate_client.writing.files import replacing

__all__ = ["FAILURES", "remarks_of", "write_failures"]

FAILURES = "failures.csv"
_COLUMNS = ("index", "source", "record", "label", "smiles", "code", "detail", "transient")


def write_failures(results: Path) -> Path | None:
    """Write ``failures.csv`` beside ``results``, a line a structure; its path, if there are any.

    ``record`` is the number in the file ``source``, from 0; ``transient`` ones are tried again by
    the next run.

    Raises:
        OutputUnwritable: if there is no room for it.
    """
    target = results.with_name(FAILURES)
    with h5py.File(results, "r") as file:
        failures = file["failures"]
        if not len(failures["index"]):
            target.unlink(missing_ok=True)
            return None
        manifest = Manifest(**json.loads(file.attrs["manifest"]))
        index = failures["index"][()].tolist()
        texts = {n: failures[n].asstr()[()] for n in ("label", "smiles", "code", "detail")}
        transient = failures["transient"][()].tolist()
        with replacing(target) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(_COLUMNS)
            for row, (number, place) in enumerate(zip(index, manifest.places(index), strict=True)):
                names = (str(texts[name][row]) for name in ("label", "smiles", "code", "detail"))
                writer.writerow([number, *place, *names, transient[row]])
    return target


def remarks_of(file: h5py.File) -> dict[int, list[str]]:
    """The remarks on each structure that has any, by its index."""
    found: dict[int, list[str]] = {}
    warnings = file["warnings"]
    for index, text in zip(
        warnings["index"][()].tolist(), warnings["text"].asstr()[()].tolist(), strict=True
    ):
        found.setdefault(index, []).append(text)
    return found
