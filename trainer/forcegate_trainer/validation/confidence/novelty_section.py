"""The report of novelty: where strange structures lie, and how wrong forces are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from ase import Atoms
from matplotlib.figure import Figure

from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import INK, clean, number, table
from forcegate_trainer.validation.accuracy.heldout import HeldOut
from forcegate_trainer.validation.confidence.novelty import (
    NORMAL_QUANTILE,
    NoveltySettings,
    StrangePoint,
    compare_kind,
    measure_strange,
)
from forcegate_trainer.validation.confidence.strange import DESCRIPTIONS
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.statistics import rank_correlation
from forcegate_trainer.validation.subject import Subject

__all__ = ["novelty_section", "plot_novelty"]

Float = npt.NDArray[np.float64]

_BINS = 40


def novelty_section(
    subject: Subject,
    held_out: HeldOut,
    settings: NoveltySettings,
    tell: Tell = tell_nobody,
) -> Section:
    """AUROC of the largest novelty for each kind of strange structure against the test frames.

    Raises:
        TeacherError: if the teacher is not available.
    """
    title = "Novelty of strange structures"
    if held_out.novelty is None:
        return Section(title, "This method tells no novelty.", data={"kinds": None})
    # What knows charges has learned from ions.
    ions = held_out.charges is None
    bases = _bases(held_out, settings)
    points, silent = measure_strange(subject, bases, settings, tell, ions=ions)
    normal, error = held_out.max_novelty, held_out.frame_force_rmse()
    present = dict.fromkeys(point.kind for point in points)
    kinds = {
        kind: compare_kind([point for point in points if point.kind == kind], normal)
        for kind in present
    }
    known = [point for point in points if point.force_rmse is not None]
    together = rank_correlation(
        [*normal, *(point.novelty for point in known)],
        [*error, *(point.force_rmse for point in known)],
    )
    data = {
        "settings": asdict(settings),
        "teacher": subject.teacher,
        "normal": {
            "frames": len(normal),
            "novelty_median": float(np.median(normal)),
            "novelty_p99": float(np.quantile(normal, NORMAL_QUANTILE)),
            "force_rmse_median": float(np.median(error)),
            "teacher_force_rms_median": float(np.median(held_out.frame_force_rms())),
        },
        "kinds": kinds,
        "spearman_novelty_force_rmse_all": together,
        "student_without_answer": silent,
        "structures": [asdict(point) for point in points],
    }
    return Section(
        title=title,
        markdown=_text(data),
        figures={"novelty": plot_novelty(points, normal, error)},
        data=data,
    )


def _bases(held_out: HeldOut, settings: NoveltySettings) -> list[Atoms]:
    dataset = held_out.dataset
    count = min(settings.structures, len(dataset))
    rows = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(np.int64))
    return structures_of(dataset.select(rows)).to_atoms()


def _text(data: dict[str, Any]) -> str:
    normal = data["normal"]
    headings = (
        "kind",
        "what it is",
        "structures",
        "AUROC",
        "beyond the normal 99 %",
        "gateway warns",
        "median novelty",
        "median force RMSE, eV/Å",
        "median teacher force, eV/Å",
        "teacher converged",
    )
    ordinary = (
        "test frames",
        "ordinary",
        normal["frames"],
        None,
        "1 %",
        None,
        number(normal["novelty_median"], 2),
        number(normal["force_rmse_median"], 2),
        number(normal["teacher_force_rms_median"], 2),
        normal["frames"],
    )
    rows = [
        (
            kind,
            DESCRIPTIONS[kind],
            entry["structures"],
            number(entry["auroc"], 3),
            f"{100 * entry['share_above_normal_p99']:.0f} %",
            f"{100 * entry['gateway_warns']:.0f} %",
            number(entry["novelty_median"], 2),
            number(entry["force_rmse_median"], 2),
            number(entry["teacher_force_rms_median"], 2),
            entry["teacher_converged"],
        )
        for kind, entry in data["kinds"].items()
    ]
    blind = [kind for kind, entry in data["kinds"].items() if entry["auroc"] < 0.9]
    ions = ""
    if "ion" in data["kinds"]:
        ions = " Ions were given to it with their charge, of which the student knows nothing."
    parts = [
        "Strange structures are made by rule from test frames, and judged by the largest novelty "
        "of their atoms. AUROC is the probability that a strange structure has a larger one than a "
        "test frame: 1 tells all apart, 0.5 none. Force errors are against the teacher where that "
        f"converged.{ions} “Gateway warns” is the share on whose composition the gateway remarks "
        "if no charge is told: an odd number of electrons, or no hydrogens.",
        table(headings, [ordinary, *rows]),
        f"Over test frames and strange structures together the rank correlation of novelty and "
        f"force RMSE is {number(data['spearman_novelty_force_rmse_all'], 2)}.",
    ]
    if blind:
        parts.append(
            "**Novelty does not reliably find** " + ", ".join(blind) + " (AUROC below 0.9): what "
            "it does not flag is not thereby safe."
        )
    if data["student_without_answer"]:
        parts.append(
            f"For {data['student_without_answer']} structures the student's answer was not finite; "
            "the gateway refuses those."
        )
    return "\n\n".join([*parts, "![novelty of strange structures](novelty.png)"])


def plot_novelty(points: Sequence[StrangePoint], normal: Float, error: Float) -> Figure:
    """Histograms of novelty by kind above that of ``normal`` [F]; force errors beside them.

    ``error`` [F] is the force RMSE of the normal frames in eV/Å.
    """
    kinds = list(dict.fromkeys(point.kind for point in points))
    figure = Figure(figsize=(11.0, 1.1 + 0.75 * (len(kinds) + 1)), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False).ravel()
    panels = left.subplots(len(kinds) + 1, 1, sharex=True, squeeze=False).ravel()
    everything = np.concatenate([normal, [point.novelty for point in points]])
    positive = everything[everything > 0.0]
    low, high = (positive.min(), positive.max()) if len(positive) else (0.1, 10.0)
    edges = np.geomspace(0.95 * low, 1.05 * high, _BINS)
    limit = float(np.quantile(normal, NORMAL_QUANTILE))
    axis = right.subplots()
    colors = matplotlib.colormaps["tab10"]
    groups: dict[str, tuple[Float, Float, Any]] = {"test frames": (normal, error, INK)}
    for place, kind in enumerate(kinds):
        chosen = [point for point in points if point.kind == kind]
        groups[kind] = (
            np.array([point.novelty for point in chosen]),
            np.array([np.nan if p.force_rmse is None else p.force_rmse for p in chosen]),
            colors(place % 10),
        )
    for panel, (kind, (novelty, rmse, color)) in zip(panels, groups.items(), strict=True):
        panel.hist(novelty, bins=edges, color=color)
        panel.axvline(limit, color=INK, lw=0.8, ls=":")
        panel.set_xscale("log")
        panel.set_yticks([])
        panel.set_title(kind, fontsize=8, loc="left", pad=2)
        clean(panel)
        axis.loglog(novelty, np.maximum(rmse, 1e-4), ".", ms=4, alpha=0.6, color=color, label=kind)
    panels[-1].set_xlabel("largest novelty of an atom (dotted: 99 % of the test frames)")
    axis.set_xlabel("largest novelty of an atom")
    axis.set_ylabel("force RMSE against the teacher / eV/Å")
    axis.legend(frameon=False, fontsize=7, markerscale=2)
    clean(axis)
    return figure
