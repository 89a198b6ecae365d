"""A dataset and a run that several tests look at."""

from pathlib import Path

import pytest

from forcegate_client.dataset import write_dataset
from forcegate_trainer.export import export
from forcegate_trainer.training.run import fit
from support.datasets import labelled_dataset
from support.runs import small_config


@pytest.fixture(scope="session")
def dataset_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled dataset of rattled small molecules."""
    path = tmp_path_factory.mktemp("data") / "frames.h5"
    write_dataset(path, labelled_dataset())
    return path


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, dataset_file: Path) -> Path:
    """A finished run of the smallest student."""
    folder = tmp_path_factory.mktemp("run")
    fit(small_config(dataset_file), folder, lambda step, total, known: None)
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, run_folder: Path) -> Path:
    """The version folder of that student."""
    return export(run_folder, tmp_path_factory.mktemp("repository"))
