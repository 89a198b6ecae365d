"""Errors on labelled frames of molecules that were never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from forcegate_client.checks.charges import MOST_MISSING
from forcegate_client.dataset import Dataset, Source
from forcegate_trainer.data.molecules.splits import keys_to_hold_apart
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import number, table
from forcegate_trainer.validation.accuracy.heldout import HeldOut, predict_with
from forcegate_trainer.validation.accuracy.heldout_figures import plot_molecules, plot_parity
from forcegate_trainer.validation.accuracy.kinds import (
    DRUG_LIKE_HEAVY_ATOMS,
    IONS,
    nearest_similarity,
)
from forcegate_trainer.validation.section import Section, plain
from forcegate_trainer.validation.subject import Subject

__all__ = ["TEMPERATURES_K", "heldout_section", "judged_frames", "predict", "refuse_leaks"]

TEMPERATURES_K = (300.0, 500.0)

_FORCE_COLUMNS = {"force_rmse": 3, "force_mae": 3, "force_r2": 4, "force_angle": 1}
_MOLECULE_COLUMNS = {"force_rmse": 3, "energy_mae_mev_per_atom": 2, "charge_mae_e": 4}
_ALL_COLUMNS = {**_FORCE_COLUMNS, **_MOLECULE_COLUMNS}
_HEADINGS = {
    "force_rmse": "force RMSE, eV/Å",
    "force_mae": "force MAE, eV/Å",
    "force_r2": "component R²",
    "force_angle": "angular error, °",
    "energy_mae_mev_per_atom": "energy MAE, meV/atom",
    "charge_mae_e": "charge MAE, e",
}
# What is made of several molecules, and looked at beside the dynamics of single ones.
_COMPLEXES = (Source.CONTACT, Source.CLUSTER)
_LISTED = 40
_QUANTILES = {"median": 0.5, "q90": 0.9, "worst": 1.0}


def refuse_leaks(dataset: Dataset, teacher: str) -> None:
    """Test molecules are never trained on, and the labels are the teacher's.

    Raises:
        SettingsError: if they are not.
    """
    trained, tested = (
        {
            key
            for row in range(len(found.molecules))
            for key in keys_to_hold_apart(found.molecules, row)
        }
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
    user's simulation meets; and its contacts and clusters, if it has any. A dataset without such
    dynamics gives all frames of its test split.

    Raises:
        SettingsError: if there is no test split.
    """
    tested = dataset.select(dataset.frame_indices("test"))
    if not len(tested):
        raise SettingsError(
            "received a dataset without frames of the test split; expected one file with all "
            "splits, as `forcegate-train sample` and `label` write it: give the file of test "
            "frames as a further --data"
        )
    thermal = (tested.source == Source.TEACHER_MD) & np.isin(tested.temperature, TEMPERATURES_K)
    if thermal.any():
        complexes = np.isin(tested.source, _COMPLEXES)
        words = "from the teacher's own molecular dynamics at 300 and 500 K" + (
            ", and of contacts and clusters" if complexes.any() else ""
        )
        return tested.select(np.flatnonzero(thermal | complexes)), words
    return tested, (
        "of every kind (the dataset has none of the teacher's own molecular dynamics at 300 and "
        "500 K, by which students are otherwise judged)"
    )


def predict(subject: Subject, dataset: Dataset, tell: Tell = tell_nobody) -> tuple[HeldOut, int]:
    """The subject's answers for all frames, and how many frames it could not answer.

    Raises:
        SettingsError: if the frames have no labels, or it answers for none of them.
    """
    return predict_with(subject.potential, dataset, tell)


def heldout_section(held_out: HeldOut, training: Sequence[str], which: str, failed: int) -> Section:
    """``training`` are SMILES of the training molecules, ``which`` says what frames these are."""
    summary: dict[str, Any] = plain(held_out.summary())
    molecules = held_out.per_molecule()
    summary |= {"by_molecule": _quantiles(molecules), "worst_kind": _worst(summary["per_kind"])}
    similarity = dict(zip(molecules, _similarity(list(molecules), training), strict=True))
    rmse = np.array([molecule["force_rmse"] for molecule in molecules.values()])
    known = [value for value in similarity.values() if value is not None]
    parts = [
        f"{summary['frames']} frames {which}, of {summary['molecules']} molecules; the split is "
        "by molecule.",
    ]
    if failed:
        parts.append(f"{failed} further frames are missing: no answer.")
    if summary["refused"]:
        parts.append(
            f"{summary['refused']} further frames are in no figure, since the server refuses them "
            f"(`charge_mismatch`): what their charges sum to is more than {MOST_MISSING:g} e off "
            "their net charge."
        )
    parts += [
        _table("frames", {"all": summary, **_kelvin(summary)}, _ALL_COLUMNS),
        _kinds_text(summary),
        _table("element", summary["per_element"], _FORCE_COLUMNS),
        *_net_charge_text(summary),
        "![force parity and energy errors](parity.png)",
        "By molecule, where each counts once however many frames it has, and below those of the "
        "largest force RMSE:",
        _table("of the molecules", summary["by_molecule"], _MOLECULE_COLUMNS),
    ]
    figures = {"parity": plot_parity(held_out)}
    if len(known) == len(rmse):
        figures["molecules"] = plot_molecules(rmse, np.array(known))
        parts.append("![errors by molecule](molecules.png)")
    worst = sorted(molecules, key=lambda smiles: -molecules[smiles]["force_rmse"])[:_LISTED]
    parts.append(
        table(
            (
                "molecule",
                *map(_HEADINGS.__getitem__, _told(molecules, _MOLECULE_COLUMNS)),
                "nearest training similarity",
            ),
            [
                (
                    f"`{smiles}`",
                    *_cells(molecules[smiles], _told(molecules, _MOLECULE_COLUMNS)),
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
    return Section(
        "Molecules never trained on", "\n\n".join(parts), figures, data, _judged(summary)
    )


def _judged(summary: Mapping[str, Any]) -> dict[str, float]:
    """What ions are judged by: nothing where a student knows no charges, or a kind is missing."""
    ions = [summary["per_kind"].get(str(kind)) for kind in IONS]
    net = summary.get("net_charge_error_e")
    if net is None or net["q99"] is None or None in ions:
        return {}
    return {
        "ion_force_rmse_worst_kind": max(one["force_rmse"] for one in ions),
        "net_charge_error_q99": net["q99"],
    }


def _quantiles(molecules: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    columns = {
        name: np.array([one[name] for one in molecules.values() if name in one])
        for name in _MOLECULE_COLUMNS
    }
    return {
        label: {name: float(np.quantile(v, share)) for name, v in columns.items() if len(v)}
        for label, share in _QUANTILES.items()
    }


def _worst(kinds: Mapping[str, Mapping[str, Any]]) -> str:
    """The kind with the largest force RMSE."""
    return max(kinds, key=lambda kind: kinds[kind]["force_rmse"])


def _kinds_text(summary: Mapping[str, Any]) -> str:
    kinds = summary["per_kind"]
    worst = summary["worst_kind"]
    rows = {
        f"{kind} ({one['molecules']} molecules, {one['frames']} frames)": one
        for kind, one in kinds.items()
    }
    return (
        f"Force RMSE over all frames {number(summary['force_rmse'], 3)} eV/Å; **the worst kind is "
        f"{worst} with {number(kinds[worst]['force_rmse'], 3)} eV/Å.** A molecule that is of "
        f"several kinds counts in each: organic are neutral ones without halogens, P, B and Si; "
        f"drug-like are those with {DRUG_LIKE_HEAVY_ATOMS} heavy atoms or more.\n\n"
        + _table("kind", rows, _ALL_COLUMNS)
    )


def _net_charge_text(summary: Mapping[str, Any]) -> list[str]:
    found = summary.get("net_charge_error_e")
    if not found:
        return []
    return [
        "Charges of a molecule sum to its net charge within "
        f"{number(found['median'], 4)} e in the median, {number(found['q99'], 4)} e for 99 % of "
        f"{found['molecules']} molecules, at worst {number(found['worst'], 3)} e. Each molecule of "
        f"a contact or cluster counts by itself; {found['frames_left_out']} frames in which a "
        "proton or the teacher's charge has moved between molecules are left out."
    ]


def _similarity(smiles: list[str], training: Sequence[str]) -> Sequence[float | None]:
    single = [text for text in training if "." not in text]
    return nearest_similarity(smiles, single) if single else [None] * len(smiles)


def _kelvin(summary: Mapping[str, Any]) -> dict[str, Any]:
    rows = summary["per_temperature_k"].items()
    return {f"{kelvin} K" if kelvin[0].isdigit() else kelvin: row for kelvin, row in rows}


def _table(first: str, rows: Mapping[str, Mapping[str, Any]], columns: Mapping[str, int]) -> str:
    columns = _told(rows, columns)
    headings = (first, *(_HEADINGS[column] for column in columns))
    return table(headings, [(name, *_cells(row, columns)) for name, row in rows.items()])


def _cells(row: Mapping[str, Any], columns: Mapping[str, int]) -> list[str]:
    return [number(row.get(column), digits) for column, digits in columns.items()]


def _told(rows: Mapping[str, Mapping[str, Any]], columns: Mapping[str, int]) -> Mapping[str, int]:
    """The columns that some row has: not all methods tell charges."""
    return {
        name: digits for name, digits in columns.items() if any(name in r for r in rows.values())
    }
