"""What a mentor is asked, when, and when not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forcegate_client.dataset import Dataset, TeacherRecord
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_trainer.data.datasets import load_all
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.config import Distillation
from forcegate_trainer.fit.distillation.mentor import find_mentor
from forcegate_trainer.fit.distillation.targets import (
    asking_seconds,
    open_targets,
    prepare_targets,
    share_targets,
)


def test_the_mentor_is_asked_once_and_again_when_the_frames_change(
    everything: Distillation, training: Dataset, tmp_path: Path
) -> None:
    told: list[str] = []

    def tell(title: str, done: int, total: int) -> None:
        told.append(title)

    prepare_targets(everything, training, tmp_path, 0, tell)
    assert any("mentor" in title for title in told)
    told.clear()
    prepare_targets(replace(everything, feature_weight=0.7), training, tmp_path, 0, tell)
    assert not told
    prepare_targets(everything, training.select(np.arange(9)), tmp_path, 0, tell)
    assert told


def test_a_further_question_leaves_the_answers_to_the_first(
    everything: Distillation, training: Dataset, tmp_path: Path
) -> None:
    few = training.select(np.arange(9))
    atoms = replace(everything, hessian_weight=0.0)
    prepare_targets(atoms, few, tmp_path / "asked", 0)
    with pytest.raises(SettingsError, match="without the mentor's answers about atoms and rows"):
        asking_seconds(everything, tmp_path / "asked")
    first = asking_seconds(atoms, tmp_path / "asked")
    assert first > 0
    told: list[str] = []
    prepare_targets(everything, few, tmp_path / "asked", 0, lambda title, *_: told.append(title))
    assert any("Hessian" in title for title in told)
    assert not any("features" in title for title in told)
    assert asking_seconds(everything, tmp_path / "asked") > first
    share_targets(tmp_path / "asked", tmp_path / "other")
    told.clear()
    prepare_targets(everything, few, tmp_path / "other", 0, lambda title, *_: told.append(title))
    assert not told
    shared = open_targets(everything, tmp_path / "other")
    assert shared.rows is not None
    assert shared.rows.values.shape == (everything.hessian_rows, len(few.positions), 3)


def test_a_mentor_of_another_teacher_or_without_weights_is_refused(
    exported: Path, dataset_file: Path, tmp_path: Path
) -> None:
    dataset = load_all((str(dataset_file),))
    weights = {"atomic_energy_weight": 1.0}
    other = replace(dataset, teacher=TeacherRecord("tblite:GFN1-xTB", "0"))
    with pytest.raises(SettingsError, match="which labelled the frames"):
        find_mentor(exported, weights, other)
    with pytest.raises(SettingsError, match="--hessian-weight"):
        find_mentor(exported, {"atomic_energy_weight": 0.0}, dataset)
    with pytest.raises(SettingsError, match="no mentor"):
        find_mentor(None, weights, dataset)
    write_fake_model(tmp_path, name="toy")
    with pytest.raises(SettingsError, match="expected a PaiNN"):
        find_mentor(tmp_path / "toy" / "1", weights, dataset)


def test_a_mentor_whose_weights_have_changed_is_not_asked(
    everything: Distillation, training: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="as when the run was set up"):
        prepare_targets(replace(everything, digest="sha256:0"), training, tmp_path, 0)
