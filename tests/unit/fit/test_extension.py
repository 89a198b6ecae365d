"""A run is extended by data it had not: with all it had before, or not at all."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from forcegate_client.dataset import write_dataset
from forcegate_trainer.data.datasets import load_all
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.start import extend
from forcegate_trainer.network.storage import CONFIG_NAME
from support.datasets import labelled_dataset


def test_an_extended_run_has_the_old_data_and_the_new_and_begins_with_the_old_weights(
    run_folder: Path, dataset_file: Path, tmp_path: Path
) -> None:
    new = str(tmp_path / "new.h5")
    write_dataset(new, labelled_dataset(frames_per_molecule=2))
    found = extend(run_folder, [new, str(dataset_file)])
    before = FitConfig.load(run_folder / CONFIG_NAME)
    assert found.paths == (str(dataset_file), new)
    assert found.dataset.content_hash() == load_all(found.paths).content_hash()
    assert (found.model, found.architecture) == (before.model, before.architecture)
    assert found.start.folder == str(run_folder)


def _moved(run_folder: Path, tmp_path: Path, **changed: object) -> Path:
    """A copy of the run with other settings written down."""
    copy = shutil.copytree(run_folder, tmp_path / "run")
    replace(FitConfig.load(copy / CONFIG_NAME), **changed).save(copy / CONFIG_NAME)  # type: ignore[arg-type]
    return copy


def test_data_that_are_not_what_the_run_was_fitted_to_are_refused(
    run_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.h5"
    write_dataset(other, labelled_dataset(frames_per_molecule=2))
    run = _moved(run_folder, tmp_path, datasets=(str(other),))
    with pytest.raises(SettingsError, match="that of the data which"):
        extend(run, [])


def test_data_that_are_no_longer_there_are_named(run_folder: Path, tmp_path: Path) -> None:
    run = _moved(run_folder, tmp_path, datasets=("gone.h5",))
    with pytest.raises(SettingsError, match=r"gone\.h5; expected these files"):
        extend(run, [])


def test_an_exported_version_or_no_run_at_all_cannot_be_extended(
    exported: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="--start-from with all datasets"):
        extend(exported, [])
    with pytest.raises(SettingsError, match=r"no config\.json"):
        extend(tmp_path, [])
