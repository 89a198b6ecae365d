"""The teacher in the student's place: what the protocol itself, and physics, contribute.

The results are the same for every student of that teacher, so they are kept in a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forcegate_trainer.errors import SettingsError
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.teachers import Teacher, parse_teacher
from forcegate_trainer.validation.dynamics.nve import prepare, run_nve_batch
from forcegate_trainer.validation.molecules import SuiteMolecule
from forcegate_trainer.validation.settings import ControlSettings, NVESettings
from forcegate_trainer.validation.subject import MD_ACCURACY

__all__ = ["teacher_control"]

_SCHEMA = 1


def teacher_control(
    teacher: str,
    settings: ControlSettings,
    molecules: Sequence[SuiteMolecule],
    path: Path,
    tell: Tell = tell_nobody,
) -> dict[str, dict[str, Any]]:
    """``MoleculeRun.summary`` of the teacher's run of each molecule that is asked for, by name.

    Those in ``path`` of the same teacher, settings and SMILES are taken from there; what is
    missing is run, all molecules side by side, and added.

    Raises:
        SettingsError: if ``path`` is not a file of this kind.
        TeacherError: if the teacher is not available.
    """
    method = parse_teacher(teacher, MD_ACCURACY)
    kept = _load(path)
    wanted = [molecule for molecule in molecules if molecule.name in settings.molecules]
    keys = {molecule.name: _key(method, settings.run, molecule) for molecule in wanted}
    missing = [m for m in wanted if _known(kept, keys[m.name]) is None]
    if missing:
        for name, summary in _run(method, settings.run, missing, tell).items():
            kept.append({"key": keys[name], "result": summary})
        _save(path, kept)
    found = {name: _known(kept, key) for name, key in keys.items()}
    return {name: summary for name, summary in found.items() if summary is not None}


def _known(kept: Sequence[Mapping[str, Any]], key: Mapping[str, Any]) -> dict[str, Any] | None:
    return next((entry["result"] for entry in kept if entry["key"] == key), None)


def _run(
    method: Teacher, settings: NVESettings, molecules: Sequence[SuiteMolecule], tell: Tell
) -> dict[str, dict[str, Any]]:
    """By name. Side by side, a teacher that is a network takes a fraction of the time."""
    prepared = [
        prepare(
            molecule.name,
            molecule.atoms,
            method.calculator(),
            fmax=settings.relax_fmax,
            steps=settings.relax_steps,
        )
        for molecule in molecules
    ]
    names = ", ".join(molecule.name for molecule in molecules)
    title = f"control: {settings.duration_ps:g} ps of {names}"
    runs = run_nve_batch(prepared, method.potential(), settings, tell, title)
    return {run.name: run.summary() for run in runs}


def _key(method: Teacher, settings: NVESettings, molecule: SuiteMolecule) -> dict[str, Any]:
    key = {
        "teacher": json.loads(method.record.to_json()),
        "settings": asdict(settings),
        "name": molecule.name,
        "smiles": molecule.smiles,
    }
    # As it looks once it has been through a file.
    plain: dict[str, Any] = json.loads(json.dumps(key))
    return plain


def _load(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema, runs = content["schema"], content["runs"]
        entries = [{"key": run["key"], "result": run["result"]} for run in runs]
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"received {path}, which holds no runs of a control ({error!r}); expected a file that "
            "this command has written: name another, or remove it"
        ) from error
    if schema != _SCHEMA:
        raise SettingsError(
            f"received {path} of schema {schema}; expected {_SCHEMA}: name another file"
        )
    return entries


def _save(path: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    content = {"schema": _SCHEMA, "runs": list(runs)}
    aside.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    aside.replace(path)
