"""What came out of a screening at a glance: JSON for programs, Markdown and plots for people."""

from __future__ import annotations

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np

__all__ = ["write_summary"]

_PLOTTED = {
    "energy_per_atom": "energy per atom / eV",
    "energy_uncertainty": "energy uncertainty / eV",
    "max_novelty": "novelty",
    "max_force": "largest force / eV/Å",
}


def write_summary(results: Path) -> dict[str, Any]:
    """Write ``summary.json``, ``summary.md`` and, if matplotlib is there, ``summary.png``."""
    with h5py.File(results, "r") as file:
        found = _summary(file)
        if find_spec("matplotlib") is not None:
            _plot(file, found, results.with_name("summary.png"))
    text = json.dumps(found, indent=1, ensure_ascii=False)
    results.with_name("summary.json").write_text(text + "\n", encoding="utf-8")
    results.with_name("summary.md").write_text(_markdown(found), encoding="utf-8")
    return found


def _summary(file: h5py.File) -> dict[str, Any]:
    manifest = json.loads(file.attrs["manifest"])
    rows = file["rows"]
    codes = Counter(file["failures/code"].asstr()[()].tolist())
    columns = {}
    for name in (*_PLOTTED, "steps"):
        if name in rows and len(rows[name]):
            low, middle, high = np.percentile(rows[name][()], (5, 50, 95)).tolist()
            columns[name] = {"5 %": low, "median": middle, "95 %": high}
    found: dict[str, Any] = {
        "model": manifest["model"],
        "settings": manifest["settings"],
        "structures": int(file.attrs["structures"]),
        "computed": len(rows["index"]),
        "selected": int(rows["selected"][()].sum()),
        "where": file.attrs.get("where"),
        "failed": len(file["failures/index"]),
        "failed_transiently": int(file["failures/transient"][()].sum()),
        "failures": dict(codes.most_common()),
        "warned": len(np.unique(file["warnings/index"][()])),
        "columns": columns,
    }
    if "converged" in rows:
        found["converged"] = int(rows["converged"][()].sum())
    return found


def _markdown(found: dict[str, Any]) -> str:
    model = found["model"]
    lines = [
        "# Screening",
        "",
        f"{model['name']} {model['version']} ({model['digest']}), {found['settings']['task']}",
        "",
        "| | structures |",
        "| --- | --- |",
    ]
    names = ("structures", "computed", "converged", "selected", "warned", "failed")
    lines += [f"| {name} | {found[name]} |" for name in names if name in found]
    lines += [f"| failed: {code} | {count} |" for code, count in found["failures"].items()]
    if found["where"]:
        lines += ["", f"Selected where `{found['where']}`."]
    if found["columns"]:
        lines += ["", "| | 5 % | median | 95 % |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {name} | {row['5 %']:.6g} | {row['median']:.6g} | {row['95 %']:.6g} |"
            for name, row in found["columns"].items()
        ]
    return "\n".join(lines) + "\n"


def _plot(file: h5py.File, found: dict[str, Any], path: Path) -> None:
    # The figure's own canvas: pyplot would choose a backend for the whole process.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    axes = figure.subplots(3, 2).flatten()
    for axis, (name, label) in zip(axes, _PLOTTED.items(), strict=False):
        values = file["rows"][name][()] if name in file["rows"] else np.zeros(0)
        axis.hist(values, bins=60, log=True)
        axis.set(xlabel=label, ylabel="structures")
    codes = found["failures"] or {"none": 0}
    axes[4].barh(list(codes), list(codes.values()))
    axes[4].set(xlabel="failures")
    axes[5].set_axis_off()
    figure.savefig(path, dpi=120)
