"""The frames of a run: those that steps are taken on, and those that judge them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from forcegate_client.dataset import Dataset, concatenate
from forcegate_client.dataset.molecules import merge_tables
from forcegate_trainer.data.datasets import load_all
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.config import ExtraFrames, FitConfig
from forcegate_trainer.teachers.spec import same_teacher

__all__ = ["Extra", "TrainingData", "load_extra", "load_training_data", "training_data"]


@dataclass(frozen=True)
class TrainingData:
    """``training`` frames, the first ``n_taught`` labelled by the teacher, and ``validation``.

    What follows the first ``n_taught`` was labelled by another student. The validation frames are
    the teacher's own, always.
    """

    training: Dataset
    n_taught: int
    validation: Dataset


@dataclass(frozen=True)
class Extra:
    """Frames that another student labelled, and what the settings of a run say of them."""

    frames: Dataset
    record: ExtraFrames


def load_training_data(config: FitConfig) -> TrainingData:
    """The frames that ``config`` names, read from their files.

    Raises:
        SettingsError: if there are no labels, too few frames, or extra frames that must not be
            trained on.
        DatasetMismatchError: if an extra frame is of a validation or test molecule.
    """
    dataset = load_all(config.datasets)
    extra = None if config.extra is None else load_extra(config.extra.paths, dataset)
    return training_data(config, dataset, extra)


def training_data(config: FitConfig, dataset: Dataset, extra: Extra | None) -> TrainingData:
    """Those of ``dataset``, all that ``config`` names, and of ``extra``.

    Raises:
        SettingsError: if they are too few.
    """
    training = dataset.select(dataset.frame_indices("train"))
    validation = dataset.select(dataset.frame_indices("validation"))
    if len(training) < config.batch_size or not len(validation):
        raise SettingsError(
            f"received {len(training)} training and {len(validation)} validation frames; expected "
            f"at least one batch of {config.batch_size} and some validation molecules"
        )
    n_taught = len(training)
    if extra is not None:
        training = concatenate([training, replace(extra.frames, teacher=training.teacher)])
    return TrainingData(training, n_taught, validation)


def load_extra(paths: tuple[str, ...], dataset: Dataset) -> Extra:
    """Frames of training molecules beside ``dataset``, labelled by a student of its teacher.

    Raises:
        SettingsError: if a frame is of a molecule that is not for training, or the labels are
            another method's: its energies would have another zero.
        DatasetMismatchError: if a molecule is in another split there.
    """
    extra = load_all(paths)
    strangers = len(extra) - len(extra.frame_indices("train"))
    if strangers or not len(extra):
        raise SettingsError(
            f"received {list(paths)} with {strangers} of {len(extra)} frames of validation or test "
            "molecules; expected training molecules alone, and at least one frame"
        )
    teacher = extra.teacher
    assert teacher is not None  # load_all refuses frames without labels
    assert dataset.teacher is not None
    a_student = teacher.name.startswith("student:")
    if not (a_student and same_teacher(teacher.settings.get("teacher"), dataset.teacher)):
        raise SettingsError(
            f"received extra frames labelled by {teacher.name}, which is not a student of "
            f"{dataset.teacher.to_json()}; expected labels made with --teacher "
            "student:<version folder>, of a student of the teacher that labelled the datasets: "
            "give the teacher's own labels as datasets"
        )
    # Merged for its checks alone: no molecule may be in two splits.
    merge_tables([dataset.molecules, extra.molecules])
    record = ExtraFrames(paths, extra.content_hash(), teacher.name, teacher.version)
    return Extra(extra, record)
