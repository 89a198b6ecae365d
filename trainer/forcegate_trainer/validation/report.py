"""The validation report: Markdown with figures beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from forcegate_service.card import ModelCard
from forcegate_trainer.validation.dynamics import Trajectory
from forcegate_trainer.validation.heldout import HeldOut
from forcegate_trainer.validation.plots import plot_calibration, plot_molecules, plot_parity

__all__ = ["write_report"]

_FORCE_COLUMNS = ("force_rmse", "force_mae", "force_r2", "force_angle")
_ALL_COLUMNS = (*_FORCE_COLUMNS, "energy_mae_mev_per_atom")
_HEADINGS = {
    "force_rmse": "force RMSE, eV/Å",
    "force_mae": "force MAE, eV/Å",
    "force_r2": "component R²",
    "force_angle": "angular error, °",
    "energy_mae_mev_per_atom": "energy MAE, meV/atom",
}


def write_report(
    folder: Path,
    card: ModelCard,
    held_out: HeldOut,
    similarity: dict[str, float],
    trajectories: Sequence[Trajectory],
) -> None:
    """Write ``report.md`` and its figures into ``folder``.

    ``similarity`` maps the SMILES of each test molecule to its nearest training similarity.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = held_out.summary()
    molecules = held_out.per_molecule()
    rmse = np.array([molecules[smiles]["force_rmse"] for smiles in similarity])
    for name, figure in {
        "parity": plot_parity(held_out),
        "molecules": plot_molecules(rmse, np.array(list(similarity.values()))),
        "calibration": plot_calibration(held_out),
    }.items():
        figure.savefig(folder / f"{name}.png", dpi=110)
    parts = [
        f"# {card.name} version {card.version}",
        f"`{card.digest}`, {card.n_parameters:,} parameters, teacher `{card.teacher['name']}`.",
        "## Molecules never trained on",
        f"{summary['frames']} frames of {summary['molecules']} molecules "
        f"({_sources(summary['sources'])}); the split is by molecule.",
        _table("set", {"all": summary, **_kelvin(summary)}, _ALL_COLUMNS),
        _table("element", summary["per_element"], _FORCE_COLUMNS),
        "![force parity and energy errors](parity.png)",
        "## Molecule by molecule",
        f"Median force RMSE {np.median(rmse):.3f} eV/Å, worst {rmse.max():.3f} eV/Å.",
        "![errors by molecule](molecules.png)",
        _molecule_table(molecules, similarity),
        "## Uncertainty",
        _calibration_text(summary["uncertainty"]),
        "![calibration of the energy uncertainty](calibration.png)",
    ]
    if trajectories:
        parts += ["## Molecular dynamics", _dynamics_text(trajectories)]
    (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _kelvin(summary: dict[str, Any]) -> dict[str, Any]:
    rows = summary["per_temperature_k"].items()
    return {f"{kelvin} K" if kelvin[0].isdigit() else kelvin: row for kelvin, row in rows}


def _sources(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _table(first: str, rows: dict[str, dict[str, Any]], columns: Sequence[str]) -> str:
    lines = [
        "| " + " | ".join([first, *(_HEADINGS[column] for column in columns)]) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name, row in rows.items():
        cells = [name, *(_number(row[column], column) for column in columns)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _number(value: float, column: str) -> str:
    digits = {"force_r2": 4, "force_angle": 1, "energy_mae_mev_per_atom": 2}.get(column, 3)
    return f"{value:.{digits}f}"


def _molecule_table(molecules: dict[str, dict[str, float]], similarity: dict[str, float]) -> str:
    worst = sorted(similarity, key=lambda smiles: -molecules[smiles]["force_rmse"])
    lines = [
        "| molecule | force RMSE, eV/Å | energy MAE, meV/atom | nearest training similarity |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{smiles}` | {molecules[smiles]['force_rmse']:.3f} | "
        f"{molecules[smiles]['energy_mae_mev_per_atom']:.2f} | {similarity[smiles]:.2f} |"
        for smiles in worst
    ]
    return "\n".join(lines)


def _calibration_text(calibration: dict[str, float]) -> str:
    return (
        f"RMS of error/σ is {calibration['rms_error_over_sigma']:.2f} (1 if calibrated), the rank "
        f"correlation of |error| and σ {calibration['spearman_error_sigma']:.2f}. This σ is of "
        "the energy; it says nothing quantitative about forces."
    )


def _dynamics_text(trajectories: Sequence[Trajectory]) -> str:
    lines = [
        "Microcanonical runs of public molecules that were kept out of training. Short runs test "
        "smoothness and survival; they do not approve the model for molecular dynamics.",
        "",
        "| molecule | length, ps | drift ± SE, meV/atom/ps | mean T, K | bonds | force RMSE to the "
        "teacher, eV/Å |",
        "|---|---|---|---|---|---|",
    ]
    for run in trajectories:
        md = run.report.md
        drift = "–" if run.report.drift is None else str(run.report.drift).split(" meV")[0]
        bonds = "intact" if run.bonds_intact else "changed"
        lines.append(
            f"| {run.name} | {md.duration_ps:.1f} | {drift} | {md.mean_temperature_k:.0f} | "
            f"{md.trouble or bonds} | {run.teacher_force_rmse:.3f} |"
        )
    return "\n".join(lines)
