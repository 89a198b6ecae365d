"""What ``force_uncertainty`` is worth on molecules that neither student was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.force_uncertainty import ForcePartner
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.progress import Tell
from forcegate_trainer.reports import ACCENT, INK, STUDENT, clean, number, table
from forcegate_trainer.simulation.exported import opened
from forcegate_trainer.validation.accuracy.heldout import HeldOut, forces_of_partner
from forcegate_trainer.validation.accuracy.kinds import frames_by_kind
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.statistics import rank_correlation
from forcegate_trainer.validation.subject import Subject

__all__ = ["force_uncertainty_section"]

Float = npt.NDArray[np.float64]

# Nine of ten errors are to be within so many standard deviations.
_WITHIN = 1.645


def force_uncertainty_section(subject: Subject, held_out: HeldOut, tell: Tell) -> Section:
    """Rank correlation with the error, and coverage of 90 % intervals by kind, as served.

    A version without a partner, and a method that is no version, get a section that says so.

    Raises:
        SettingsError: if the partner that the card names does not lie beside the version.
    """
    if subject.card is None or subject.card.force_partner is None or subject.folder is None:
        text = "This method names no partner, and tells no uncertainty of its forces."
        return Section(title="Uncertainty of forces", markdown=text, data={"partner": None})
    partner = subject.card.force_partner
    home = subject.folder.resolve().parents[1] / partner.name / partner.version
    if not home.is_dir() or ModelCard.load(home).digest != partner.digest:
        raise SettingsError(
            f"received {subject.name}, whose partner is {partner.name} version {partner.version} "
            f"({partner.digest[:19]}); expected it at {home}: put it there, or calibrate the "
            "two again with `forcegate-train calibrate-forces`"
        )
    others = forces_of_partner(opened(home), held_out.dataset, tell)
    sigma = partner.sigma(held_out.forces, others, held_out.dataset.n_atoms)
    data = _measured(partner, held_out, sigma)
    figure = _plot(held_out, sigma)
    return Section(
        title="Uncertainty of forces",
        markdown="\n\n".join([_text(data), "![force error against σ](force_uncertainty.png)"]),
        figures={"force_uncertainty": figure},
        data=data,
    )


def _measured(partner: ForcePartner, held_out: HeldOut, sigma: Float) -> dict[str, Any]:
    dataset = held_out.dataset
    errors = np.abs(held_out.forces - held_out.force_label)
    within = (errors <= _WITHIN * sigma[:, None]).mean(axis=1)
    starts = dataset.offsets[:-1]
    frame_sigma = np.sqrt(np.add.reduceat(sigma**2, starts) / dataset.n_atoms)
    frame_error = held_out.frame_force_rmse()

    def of(frames: npt.NDArray[np.bool_]) -> dict[str, Any]:
        atoms = np.repeat(frames, dataset.n_atoms)
        return {
            "frames": int(frames.sum()),
            "coverage": float(within[atoms].mean()),
            "rms_error": float(np.sqrt((errors[atoms] ** 2).mean())),
            "rms_sigma": float(np.sqrt((sigma[atoms] ** 2).mean())),
            "spearman": rank_correlation(frame_sigma[frames], frame_error[frames]),
        }

    kinds = {str(kind): of(frames) for kind, frames in frames_by_kind(dataset).items()}
    return {
        "partner": f"{partner.name} version {partner.version}",
        "all": of(np.ones(len(dataset), dtype=np.bool_)),
        "kinds": kinds,
        "worst_kind": max(kinds, key=lambda kind: abs(kinds[kind]["coverage"] - 0.9)),
    }


def _text(data: Mapping[str, Any]) -> str:
    rows = [("all", data["all"]), *data["kinds"].items()]
    worst = data["kinds"][data["worst_kind"]]
    return "\n\n".join(
        [
            f"From the disagreement with {data['partner']}, as it is served. Of a good σ, 90 % of "
            "the errors of force components are within 1.645 σ, and the frames that it calls worse "
            "are worse (rank correlation of σ and error, both as RMS over a frame). Furthest from "
            f"90 % is {data['worst_kind']}, with {100 * worst['coverage']:.0f} %.",
            table(
                ("kind", "frames", "covered, %", "Spearman", "RMS error, eV/Å", "RMS σ, eV/Å"),
                [
                    (
                        name,
                        str(row["frames"]),
                        number(100 * row["coverage"], 1),
                        number(row["spearman"], 2),
                        number(row["rms_error"], 3),
                        number(row["rms_sigma"], 3),
                    )
                    for name, row in rows
                ],
            ),
        ]
    )


def _plot(held_out: HeldOut, sigma: Float) -> Figure:
    """RMS force error of each frame against its RMS σ, and in bins of equal count."""
    starts, n_atoms = held_out.dataset.offsets[:-1], held_out.dataset.n_atoms
    told = np.sqrt(np.add.reduceat(sigma**2, starts) / n_atoms)
    error = np.maximum(held_out.frame_force_rmse(), 1e-4)
    order = np.array_split(np.argsort(told, kind="stable"), min(10, len(told)))
    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    axis = figure.subplots()
    axis.loglog(told, error, ".", ms=3, alpha=0.3, color=STUDENT)
    axis.loglog(
        [float(np.sqrt((told[part] ** 2).mean())) for part in order],
        [float(np.sqrt((error[part] ** 2).mean())) for part in order],
        "o-",
        color=INK,
        label="RMS in bins of equal count",
    )
    span = np.array([told.min(), told.max()])
    axis.loglog(span, span, color=ACCENT, lw=1.0, label="error = σ")
    axis.set_xlabel("predicted σ of a force component / eV/Å")
    axis.set_ylabel("force RMSE of the frame / eV/Å")
    axis.legend(frameon=False, fontsize=8)
    clean(axis)
    return figure
