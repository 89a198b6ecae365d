"""Does novelty tell strange structures from ordinary ones, and does it mean error?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.checks.composition import composition_warnings
from forcegate_client.structures import StructureBatch
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.data.sampling.randomness import generator
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import number, table
from forcegate_trainer.simulation.potential import BatchPotential
from forcegate_trainer.validation.accuracy.heldout import HeldOut
from forcegate_trainer.validation.confidence.novelty_plots import plot_novelty
from forcegate_trainer.validation.confidence.ranks import auroc, rank_correlation
from forcegate_trainer.validation.confidence.strange import DESCRIPTIONS, make_strange
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.statics.points import force_rmse, student_points, teacher_points

__all__ = ["NoveltySettings", "StrangePoint", "compare_kind", "measure_strange", "novelty_section"]

Float = npt.NDArray[np.float64]

_QUANTILE = 0.99


@dataclass(frozen=True)
class NoveltySettings:
    """``structures`` test frames, spread evenly, are what strange ones are made of."""

    structures: int = 40
    seed: int = 17


@dataclass(frozen=True)
class StrangePoint:
    """One strange structure: the student's largest novelty, and its error where that is known.

    ``force_rmse`` in eV/Å against the teacher, and ``teacher_force_rms``, the size of what it
    should have been; both None where the teacher did not converge. ``warned``: the gateway remarks
    on its composition, also if no charge is told.
    """

    kind: str
    novelty: float
    warned: bool
    force_rmse: float | None
    teacher_force_rms: float | None


def measure_strange(
    potential: BatchPotential,
    teacher: str,
    normal: Sequence[Atoms],
    settings: NoveltySettings,
    tell: Tell = tell_nobody,
    *,
    ions: bool = True,
) -> tuple[list[StrangePoint], int]:
    """Make strange structures of ``normal`` and ask student and teacher about them.

    ``ions`` and zwitterions are strange to a student without charges alone.

    Also returns for how many the student's answer is not finite or tells no novelty.

    Raises:
        TeacherError: if the teacher is not available.
    """
    strange = make_strange(normal, generator(settings.seed, "strange structures"), ions)
    structures = [entry.atoms for entry in strange]
    mine = student_points(potential, structures)
    references = teacher_points(teacher, structures, "strange structures by the teacher", tell)
    warned = composition_warnings(_charge_untold(structures))
    found = []
    for row, (point, reference) in enumerate(zip(mine, references, strict=True)):
        if point is None or point.novelty is None:
            continue
        found.append(
            StrangePoint(
                kind=strange[row].kind,
                novelty=point.novelty,
                warned=row in warned,
                force_rmse=reference and force_rmse(point.forces, reference.forces),
                teacher_force_rms=reference and float(np.sqrt(np.mean(reference.forces**2))),
            )
        )
    return found, len(strange) - len(found)


def compare_kind(points: Sequence[StrangePoint], normal: Float) -> dict[str, Any]:
    """Novelty of one kind against that of ``normal`` [F] frames, and force errors where known."""
    novelty = np.array([point.novelty for point in points])
    errors = [point.force_rmse for point in points if point.force_rmse is not None]
    sizes = [point.teacher_force_rms for point in points if point.teacher_force_rms is not None]
    limit = float(np.quantile(normal, _QUANTILE))
    return {
        "structures": len(points),
        "auroc": auroc(novelty, normal),
        "novelty_median": float(np.median(novelty)) if len(novelty) else None,
        "share_above_normal_p99": float(np.mean(novelty > limit)) if len(novelty) else None,
        "gateway_warns": float(np.mean([point.warned for point in points])) if points else None,
        "teacher_converged": len(errors),
        "force_rmse_median": float(np.median(errors)) if errors else None,
        "teacher_force_rms_median": float(np.median(sizes)) if sizes else None,
    }


def novelty_section(
    potential: BatchPotential,
    teacher: str,
    held_out: HeldOut,
    settings: NoveltySettings | None = None,
    tell: Tell = tell_nobody,
) -> Section:
    """AUROC of the largest novelty for each kind of strange structure against the test frames.

    Raises:
        TeacherError: if the teacher is not available.
    """
    settings = settings or NoveltySettings()
    title = "Novelty of strange structures"
    if held_out.novelty is None:
        return Section(title, "This method tells no novelty.", data={"kinds": None})
    # What knows charges has learned from ions.
    ions = held_out.charges is None
    bases = _bases(held_out, settings)
    points, silent = measure_strange(potential, teacher, bases, settings, tell, ions=ions)
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
        "teacher": teacher,
        "normal": {
            "frames": len(normal),
            "novelty_median": float(np.median(normal)),
            "novelty_p99": float(np.quantile(normal, _QUANTILE)),
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


def _charge_untold(structures: Sequence[Atoms]) -> StructureBatch:
    batch = StructureBatch.from_atoms(structures)
    return replace(batch, charges=np.zeros_like(batch.charges))


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
