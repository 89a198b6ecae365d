"""From a run folder to an immutable version in a model repository."""

from __future__ import annotations

import importlib.metadata
import io
import shutil
import warnings
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forcegate_client.dataset import Dataset
from forcegate_client.messages import UNITS
from forcegate_service.contract.card import (
    ENGINE_NAME,
    MODEL_NAME,
    VERDICTS,
    ModelCard,
    Reference,
    file_digest,
)
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.neighbors.pairs import PAIR_CUTOFF
from forcegate_service.models.loading import atomic_energies
from forcegate_service.runtimes.torchscript import TorchScriptRuntime, tensors_of
from forcegate_service.runtimes.triton.repository import update_triton_files
from forcegate_trainer.data.datasets import load_all, structures_of
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.export.engine_weights import check_weights, engine_weights
from forcegate_trainer.export.histograms import count_training_set
from forcegate_trainer.export.limits import limits_of
from forcegate_trainer.export.uncertainty import calibrate
from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.evaluation import evaluate
from forcegate_trainer.fit.reference import settle_zero
from forcegate_trainer.network.storage import CONFIG_NAME, load_student
from forcegate_trainer.network.student import Student
from forcegate_trainer.progress import Tell, tell_nobody

__all__ = ["export"]

# Å; atoms closer than this are not chemistry, and no teacher was asked about them.
_MINIMUM_DISTANCE = 0.5
_REFERENCE_ATOMS = 8
# Fields of the settings that have a place of their own in the card.
_RECORDED_ELSEWHERE = frozenset({"architecture", "datasets", "dataset_hash"})


def export(
    run: Path, repository: Path, version: str | None = None, tell: Tell = tell_nobody
) -> Path:
    """Write ``repository/<model>/<version>/`` and the model's Triton configuration.

    Reference energies are settled on training frames, the uncertainty is calibrated on the
    validation split, and the histograms of the card are those of the training split. Returns the
    version's folder.

    Raises:
        SettingsError: if the version exists already, or the run's datasets have changed.
    """
    model = load_student(run).model
    config = FitConfig.load(run / CONFIG_NAME)
    dataset = load_all(config.datasets)
    if dataset.content_hash() != config.dataset_hash:
        raise SettingsError(
            f"received datasets {list(config.datasets)} whose content has changed since the run; "
            "expected the frames that the student was fitted to"
        )
    home = repository / config.model
    number = version or str(1 + max((int(p.name) for p in home.glob("[1-9]*")), default=0))
    folder = home / number
    if folder.exists():
        raise SettingsError(
            f"received version {number}, which exists in {home}; versions are immutable: expected "
            "a new number"
        )
    train = dataset.frame_indices("train")
    validation = dataset.frame_indices("validation")
    reach = config.architecture.reach
    settle_zero(model, dataset, train, config.architecture, tell)
    calibration = calibrate(model, dataset, train, validation, reach, tell)
    metrics = evaluate(model, dataset, validation, reach[0])
    # Made aside and renamed: a version is whole or it is not there.
    aside = home / f".{number}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    _save_script(model, aside / MODEL_NAME)
    (aside / ENGINE_NAME).write_bytes(engine_weights(model, config.architecture, PAIR_CUTOFF))
    card = ModelCard(
        name=config.model,
        version=number,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        code_version=importlib.metadata.version("forcegate"),
        torch_version=torch.__version__.split("+")[0],
        units=UNITS,
        cutoff=reach[0],
        minimum_distance=_MINIMUM_DISTANCE,
        elements=list(config.architecture.elements),
        n_parameters=sum(p.numel() for p in model.parameters()),
        architecture=_plain(config.architecture),
        teacher=_teacher(dataset),
        dataset=_dataset(dataset, config),
        training=_plain(config, leave_out=_RECORDED_ELSEWHERE),
        metrics={"validation": metrics, "uncertainty": _plain(calibration)},
        status=dict.fromkeys(VERDICTS, "not_validated"),
        reference=_reference(model, dataset, validation, reach),
        interface=2 if config.architecture.charges else 1,
        files={name: file_digest(aside / name) for name in (MODEL_NAME, ENGINE_NAME)},
    )
    card.save(aside)
    check_weights(aside)
    runtime = TorchScriptRuntime(aside)
    measured = {
        "histograms": count_training_set(runtime, dataset, tell),
        "limits": limits_of(dataset, atomic_energies(runtime), _MINIMUM_DISTANCE, tell),
    }
    card.model_copy(update=measured).save(aside)
    aside.rename(folder)
    update_triton_files([home], write=True)
    return folder


def _save_script(model: Student, path: Path) -> None:
    with warnings.catch_warnings():
        # TorchScript is deprecated upstream, and still what Triton's PyTorch backend loads.
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        content = io.BytesIO()
        torch.jit.save(torch.jit.script(model), content)
    with zipfile.ZipFile(content) as whole, zipfile.ZipFile(path, "w") as kept:
        for member in whole.infolist():
            # Pickled names of files on the machine that exports, of use to a debugger alone.
            if not member.filename.endswith(".debug_pkl"):
                kept.writestr(zipfile.ZipInfo(member.filename), whole.read(member))


def _reference(
    model: Student,
    dataset: Dataset,
    validation: np.ndarray[Any, Any],
    reach: tuple[float, float | None],
) -> Reference:
    """The answer for the first validation frame of at least ``_REFERENCE_ATOMS`` atoms."""
    large = [int(f) for f in validation if dataset.n_atoms[f] >= _REFERENCE_ATOMS]
    chosen = structures_of(dataset).select([large[0] if large else int(validation[0])])
    with torch.inference_mode():
        energy, forces, _, sigma, *_ = model(*tensors_of(build_graph(chosen, *reach)))
    return Reference(
        atomic_numbers=chosen.atomic_numbers.tolist(),
        positions=chosen.positions.tolist(),
        energy=float(energy[0]),
        forces=forces.tolist(),
        energy_uncertainty=float(sigma[0]),
    )


def _teacher(dataset: Dataset) -> dict[str, Any]:
    teacher = dataset.teacher
    assert teacher is not None  # fitting refuses unlabelled datasets
    return {"name": teacher.name, "version": teacher.version, "settings": dict(teacher.settings)}


def _dataset(dataset: Dataset, config: FitConfig) -> dict[str, Any]:
    counts: dict[str, Any] = {"sha256": config.dataset_hash}
    for split in ("train", "validation", "test"):
        frames = dataset.frame_indices(split)
        molecules = len(np.unique(dataset.molecule_id[frames]))
        counts[split] = {"frames": len(frames), "molecules": molecules}
    return counts


def _plain(value: Any, leave_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    return {key: item for key, item in vars(value).items() if key not in leave_out}
