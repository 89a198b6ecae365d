"""Errors on labelled frames of molecules that were never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from forcegate_client.dataset import Dataset, Source
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.reporting import Tell, tell_nobody
from forcegate_trainer.reports.tables import number, table
from forcegate_trainer.validation.accuracy.heldout import HeldOut, predict_held_out, predict_with
from forcegate_trainer.validation.accuracy.heldout_plots import plot_molecules, plot_parity
from forcegate_trainer.validation.accuracy.similarity import nearest_similarity
from forcegate_trainer.validation.section import Section, plain
from forcegate_trainer.validation.subject import Subject

__all__ = ["TEMPERATURES_K", "heldout_section", "judged_frames", "predict", "refuse_leaks"]

TEMPERATURES_K = (300.0, 500.0)

_FORCE_COLUMNS = {"force_rmse": 3, "force_mae": 3, "force_r2": 4, "force_angle": 1}
_ALL_COLUMNS = {**_FORCE_COLUMNS, "energy_mae_mev_per_atom": 2}
_MOLECULE_COLUMNS = {"force_rmse": 3, "energy_mae_mev_per_atom": 2}
_HEADINGS = {
    "force_rmse": "force RMSE, eV/Å",
    "force_mae": "force MAE, eV/Å",
    "force_r2": "component R²",
    "force_angle": "angular error, °",
    "energy_mae_mev_per_atom": "energy MAE, meV/atom",
}


def refuse_leaks(dataset: Dataset, teacher: str) -> None:
    """Test molecules are never trained on, and the labels are the teacher's.

    Raises:
        SettingsError: if they are not.
    """
    # The key of a dimer is its monomers' keys, joined by a dot.
    trained, tested = (
        {part for key in found.molecules.split_key for part in key.split(".")}
        for found in (dataset.select(dataset.frame_indices(name)) for name in ("train", "test"))
    )
    seen = trained & tested
    if seen:
        raise SettingsError(
            f"received a test split that shares {len(seen)} molecules with the training split, "
            f"among them {min(seen)}; expected molecules never trained on"
        )
    name = "none" if dataset.teacher is None else dataset.teacher.name
    if name != teacher:
        raise SettingsError(f"received labels by {name}; expected the model's teacher {teacher}")


def judged_frames(dataset: Dataset) -> tuple[Dataset, str]:
    """The frames to be judged, and in words which they are.

    Those of the test split from the teacher's own molecular dynamics at 300 and 500 K: what a
    user's simulation meets. A dataset without any gives all frames of its test split.

    Raises:
        SettingsError: if there is no test split.
    """
    tested = dataset.select(dataset.frame_indices("test"))
    if not len(tested):
        raise SettingsError(
            "received a dataset without frames of the test split; expected one file with all "
            "splits, as `forcegate-train sample` and `label` write it"
        )
    thermal = (tested.source == Source.TEACHER_MD) & np.isin(tested.temperature, TEMPERATURES_K)
    if thermal.any():
        words = "from the teacher's own molecular dynamics at 300 and 500 K"
        return tested.select(np.flatnonzero(thermal)), words
    return tested, (
        "of every kind (the dataset has none of the teacher's own molecular dynamics at 300 and "
        "500 K, by which students are otherwise judged)"
    )


def predict(subject: Subject, dataset: Dataset, tell: Tell = tell_nobody) -> tuple[HeldOut, int]:
    """The subject's answers for all frames, and how many frames it could not answer.

    Raises:
        SettingsError: if the frames have no labels.
    """
    if subject.runtime is not None and subject.card is not None:
        return predict_held_out(subject.runtime, dataset, tell), 0
    return predict_with(subject.potential, dataset, tell)


def heldout_section(held_out: HeldOut, training: Sequence[str], which: str, failed: int) -> Section:
    """``training`` are SMILES of the training molecules, ``which`` says what frames these are."""
    summary: dict[str, Any] = plain(held_out.summary())
    molecules = held_out.per_molecule()
    similarity = dict(zip(molecules, _similarity(list(molecules), training), strict=True))
    rmse = np.array([molecule["force_rmse"] for molecule in molecules.values()])
    known = [value for value in similarity.values() if value is not None]
    parts = [
        f"{summary['frames']} frames {which}, of {summary['molecules']} molecules; the split is "
        "by molecule.",
    ]
    if failed:
        parts.append(f"{failed} further frames are missing: no answer.")
    parts += [
        _table("frames", {"all": summary, **_kelvin(summary)}, _ALL_COLUMNS),
        _table("element", summary["per_element"], _FORCE_COLUMNS),
        "![force parity and energy errors](parity.png)",
        f"By molecule: median force RMSE {np.median(rmse):.3f} eV/Å, worst {rmse.max():.3f} eV/Å.",
    ]
    figures = {"parity": plot_parity(held_out)}
    if len(known) == len(rmse):
        figures["molecules"] = plot_molecules(rmse, np.array(known))
        parts.append("![errors by molecule](molecules.png)")
    worst = sorted(molecules, key=lambda smiles: -molecules[smiles]["force_rmse"])
    parts.append(
        table(
            (
                "molecule",
                *map(_HEADINGS.__getitem__, _MOLECULE_COLUMNS),
                "nearest training similarity",
            ),
            [
                (
                    f"`{smiles}`",
                    *_cells(molecules[smiles], _MOLECULE_COLUMNS),
                    number(similarity[smiles], 2),
                )
                for smiles in worst
            ],
        )
    )
    data = {
        **summary,
        "frames_are": which,
        "without_answer": failed,
        "molecules_by_smiles": {
            smiles: {**plain(molecules[smiles]), "nearest_training_similarity": similarity[smiles]}
            for smiles in molecules
        },
    }
    return Section("Molecules never trained on", "\n\n".join(parts), figures, data)


def _similarity(smiles: list[str], training: Sequence[str]) -> Sequence[float | None]:
    single = [text for text in training if "." not in text]
    return nearest_similarity(smiles, single) if single else [None] * len(smiles)


def _kelvin(summary: Mapping[str, Any]) -> dict[str, Any]:
    rows = summary["per_temperature_k"].items()
    return {f"{kelvin} K" if kelvin[0].isdigit() else kelvin: row for kelvin, row in rows}


def _table(first: str, rows: Mapping[str, Mapping[str, Any]], columns: Mapping[str, int]) -> str:
    headings = (first, *(_HEADINGS[column] for column in columns))
    return table(headings, [(name, *_cells(row, columns)) for name, row in rows.items()])


def _cells(row: Mapping[str, Any], columns: Mapping[str, int]) -> list[str]:
    return [number(row[column], digits) for column, digits in columns.items()]
