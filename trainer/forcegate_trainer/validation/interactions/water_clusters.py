"""How strongly a student holds 2 to 10 molecules of water together, beside its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import kcal, mol
from matplotlib.figure import Figure

from forcegate_trainer.data.molecules.structures import conformers, hydrogenated, structure_of
from forcegate_trainer.data.sampling.clusters import put_together
from forcegate_trainer.data.sampling.randomness import generator
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import STUDENT, TEACHER, clean, number, table
from forcegate_trainer.validation.minimum import relax
from forcegate_trainer.validation.points import Point, student_points, teacher_points
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.subject import Subject

__all__ = ["WaterCluster", "WaterSettings", "measure_water", "water_cluster", "water_section"]

_KCAL_PER_EV = mol / kcal
_FIGURE = "water_clusters"


@dataclass(frozen=True)
class WaterSettings:
    """``copies`` clusters of each of ``sizes`` molecules.

    Put together by hydrogen bonds, each differently, and relaxed by the student to ``fmax`` (eV/Å)
    in at most ``steps`` steps.
    """

    sizes: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 9, 10)
    copies: int = 2
    fmax: float = 0.05
    steps: int = 300
    seed: int = 19


@dataclass(frozen=True)
class WaterCluster:
    """Binding energies per molecule in kcal/mol, (E(cluster) − n E(molecule)) / n, of ``size`` n.

    Both at one geometry; the molecule alone is as the student relaxes it. ``converged`` tells
    whether the relaxation did.
    """

    size: int
    copy: int
    student: float
    teacher: float
    converged: bool

    @property
    def error(self) -> float:
        """Student less teacher, in kcal/mol per molecule."""
        return self.student - self.teacher


def water_cluster(size: int, copy: int, seed: int) -> Atoms:
    """``size`` molecules put to each other by hydrogen bonds: the same at every call.

    Raises:
        MoleculeError: if no room is found, which more than a dozen molecules may not have.
    """
    rng = generator(seed, "water cluster", str(size), str(copy))
    return put_together(".".join(["O"] * size), rng, seed)


def measure_water(
    subject: Subject,
    settings: WaterSettings,
    tell: Tell = tell_nobody,
) -> tuple[list[WaterCluster], list[str]]:
    """All clusters; and in words, those for which a method gave no answer.

    Raises:
        TeacherError: if the teacher is not available.
    """
    wanted = [(size, copy) for size in settings.sizes for copy in range(settings.copies)]
    starts = [
        structure_of(hydrogenated("O"), conformers(hydrogenated("O"), 1, settings.seed)[0]),
        *(water_cluster(size, copy, settings.seed) for size, copy in wanted),
    ]
    relaxed = []
    for row, start in enumerate(starts):
        relaxed.append(relax(start, subject.calculator(), fmax=settings.fmax, steps=settings.steps))
        tell("water clusters relaxed", row + 1, len(starts))
    structures = [run.atoms for run in relaxed]
    mine, his = (
        student_points(subject.potential, structures),
        teacher_points(subject.teacher, structures),
    )
    found, silent = [], []
    for row, (size, copy) in enumerate(wanted, start=1):
        student, reference = _binding(mine, row, size), _binding(his, row, size)
        if student is None or reference is None or relaxed[row].trouble is not None:
            silent.append(f"{size} molecules, copy {copy + 1}")
        else:
            found.append(WaterCluster(size, copy, student, reference, relaxed[row].converged))
    return found, silent


def water_section(
    subject: Subject,
    settings: WaterSettings,
    tell: Tell = tell_nobody,
) -> Section:
    """Binding of water clusters per molecule, student beside teacher.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found, silent = measure_water(subject, settings, tell)
    errors = np.array([abs(cluster.error) for cluster in found])
    summary: dict[str, Any] = {
        "clusters": len(found),
        "mae_kcal_per_molecule": float(errors.mean()) if len(errors) else None,
        "worst_kcal_per_molecule": float(errors.max()) if len(errors) else None,
    }
    return Section(
        title="Water clusters",
        markdown=_text(found, silent, summary, settings),
        figures={_FIGURE: _plot(found)} if found else {},
        data={
            "settings": asdict(settings),
            "teacher": subject.teacher,
            "summary": summary,
            "without_answer": silent,
            "clusters": [{**asdict(cluster), "error": cluster.error} for cluster in found],
        },
        figures_for_verdict={"water_worst_kcal": summary["worst_kcal_per_molecule"]}
        if found and not silent
        else {},
    )


def _binding(points: Sequence[Point | None], row: int, size: int) -> float | None:
    alone, cluster = points[0], points[row]
    if alone is None or cluster is None:
        return None
    return float(_KCAL_PER_EV * (cluster.energy / size - alone.energy))


def _plot(found: Sequence[WaterCluster]) -> Figure:
    figure = Figure(figsize=(5.0, 3.4), layout="constrained")
    axis = figure.subplots()
    sizes = [cluster.size for cluster in found]
    teacher = [cluster.teacher for cluster in found]
    axis.plot(sizes, teacher, "o", ms=6, mfc="none", color=TEACHER, label="teacher")
    axis.plot(
        sizes, [cluster.student for cluster in found], "o", ms=3, color=STUDENT, label="student"
    )
    axis.set_xlabel("molecules")
    axis.set_ylabel("binding per molecule / kcal/mol")
    axis.legend(frameon=False, fontsize=8)
    clean(axis)
    return figure


def _text(
    found: Sequence[WaterCluster],
    silent: Sequence[str],
    summary: dict[str, Any],
    settings: WaterSettings,
) -> str:
    parts = [
        f"Clusters of {settings.sizes[0]} to {settings.sizes[-1]} molecules, {settings.copies} of "
        "each size, put together by hydrogen bonds and relaxed by the student (LBFGS to "
        f"{settings.fmax:g} eV/Å, at most {settings.steps} steps); then student and teacher answer "
        "for the same geometry. Binding is (E(cluster) − n E(molecule)) / n.",
        f"Over {summary['clusters']} clusters the student is off by "
        f"{number(summary['mae_kcal_per_molecule'], 2)} kcal/mol per molecule in the mean, at "
        f"worst by {number(summary['worst_kcal_per_molecule'], 2)}.",
    ]
    if silent:
        parts.append(f"No answer for {', '.join(silent)}: nothing is judged.")
    if found:
        parts += [
            f"![binding of water clusters]({_FIGURE}.png)",
            table(
                ("molecules", "teacher, kcal/mol each", "student", "error", "relaxed"),
                [
                    (
                        cluster.size,
                        number(cluster.teacher, 2),
                        number(cluster.student, 2),
                        f"{cluster.error:+.2f}",
                        "yes" if cluster.converged else "not to the end",
                    )
                    for cluster in found
                ],
            ),
        ]
    return "\n\n".join(parts)
