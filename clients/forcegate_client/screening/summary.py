"""What came out of a screening at a glance: JSON for programs, Markdown and plots for people."""

from __future__ import annotations

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from forcegate_client.remarks import Judge, verdict_remark
from forcegate_client.screening.manifest import Manifest
from forcegate_client.screening.summary_plot import plot_summary
from forcegate_client.writing.files import replacing, write_text

__all__ = ["write_summary"]

# Energies per atom are none of these: of different compositions they do not compare.
UNITS = {
    "energy_uncertainty": "eV",
    "max_novelty": "1",
    "max_force": "eV/Å",
    "n_atoms": "1",
    "steps": "1",
}
# How many of the remarks are worth a line.
_REMARKS = 10


def write_summary(results: Path) -> dict[str, Any]:
    """Write ``summary.json``, ``summary.md`` and, if matplotlib is there, ``summary.png``.

    Raises:
        OutputUnwritable: if there is no room for one of them.
    """
    with h5py.File(results, "r") as file:
        found = _summary(file)
        if find_spec("matplotlib") is not None:
            with replacing(results.with_name("summary.png")) as aside:
                values = {n: file["rows"][n][()] for n in UNITS if n in file["rows"]}
                plot_summary(values, UNITS, found, aside)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    write_text(results.with_name("summary.json"), text + "\n")
    write_text(results.with_name("summary.md"), _markdown(found))
    return found


def _summary(file: h5py.File) -> dict[str, Any]:
    manifest = Manifest(**json.loads(file.attrs["manifest"]))
    judge = manifest.judge()
    rows = file["rows"]
    warnings = file["warnings"]
    columns = {}
    for name, unit in UNITS.items():
        if name in rows and len(rows[name]):
            low, middle, high = np.percentile(rows[name][()], (5, 50, 95)).tolist()
            columns[name] = {"unit": unit, "5 %": low, "median": middle, "95 %": high}
    texts = Counter(warnings["text"].asstr()[()].tolist())
    found: dict[str, Any] = {
        "model": manifest.model,
        "verdict": _verdict(judge, manifest),
        "settings": manifest.settings,
        "files": [str(entry.get("name") or entry["path"]) for entry in manifest.files],
        "structures": int(file.attrs["structures"]),
        "computed": len(rows["index"]),
        "selected": int(rows["selected"][()].sum()),
        "where": file.attrs.get("where"),
        "failed": len(file["failures/index"]),
        "failed_transiently": int(file["failures/transient"][()].sum()),
        "failures": dict(Counter(file["failures/code"].asstr()[()].tolist()).most_common()),
        "warned": len(np.unique(warnings["index"][()])),
        "warnings": dict(texts.most_common(_REMARKS)),
        "novelty_limit": judge.novelty_limit,
        "novel": _novel(rows, judge),
        "columns": columns,
    }
    if "converged" in rows:
        found["converged"] = int(rows["converged"][()].sum())
    return found


def _verdict(judge: Judge, manifest: Manifest) -> dict[str, str]:
    """The verdict of each use that this screening is, with a remark where it is not approved."""
    uses = ["screening", *(["relax"] if manifest.settings.get("task") == "relax" else [])]
    if not judge.status:
        return dict.fromkeys(uses, "not_known")
    return {use: judge.status.get(use, "not_validated") for use in uses}


def _novel(rows: h5py.Group, judge: Judge) -> int | None:
    """How many are beyond the limit; ``None`` if there is no limit to tell."""
    if judge.novelty_limit is None or "max_novelty" not in rows:
        return None
    return int(np.count_nonzero(~(rows["max_novelty"][()] <= judge.novelty_limit)))


def _markdown(found: dict[str, Any]) -> str:
    model = found["model"]
    lines = [
        f"# Screening of {', '.join(found['files'][:3])}{', …' if len(found['files']) > 3 else ''}",
        "",
        f"{model['name']} {model['version']} ({model['digest']}), {found['settings']['task']}",
        "",
    ]
    verdicts = [verdict_remark(found["verdict"], use) for use in found["verdict"]]
    lines += [f"**Note: {text}.**\n" for text in verdicts if text]
    lines += ["| | structures |", "| --- | --- |"]
    names = ("structures", "computed", "converged", "selected", "warned", "novel", "failed")
    lines += [f"| {name} | {found[name]} |" for name in names if found.get(name) is not None]
    lines += [f"| failed: {code} | {count} |" for code, count in found["failures"].items()]
    if found["where"]:
        lines += ["", f"Selected where `{found['where']}`."]
    if found["failed"]:
        lines += ["", "`failures.csv` names each structure that failed, with the reason."]
    if found["warnings"]:
        lines += ["", "| remark | structures |", "| --- | --- |"]
        lines += [f"| {_cell(text)} | {count} |" for text, count in found["warnings"].items()]
    if found["columns"]:
        lines += ["", "| | unit | 5 % | median | 95 % |", "| --- | --- | --- | --- | --- |"]
        lines += [
            f"| {name} | {row['unit']} | {row['5 %']:.6g} | {row['median']:.6g} | "
            f"{row['95 %']:.6g} |"
            for name, row in found["columns"].items()
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
