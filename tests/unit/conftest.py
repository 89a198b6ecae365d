"""A dataset and a run that several tests look at."""

from pathlib import Path

import pytest

from forcegate_client.dataset import Dataset, load_dataset, write_dataset
from forcegate_trainer.export.version import export
from forcegate_trainer.fit.config import Distillation
from forcegate_trainer.fit.data import load_training_data
from forcegate_trainer.fit.distillation.mentor import find_mentor
from forcegate_trainer.fit.run import fit
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


@pytest.fixture(scope="module")
def training(dataset_file: Path) -> Dataset:
    """The frames that students are trained on."""
    return load_training_data(small_config(dataset_file)).training


@pytest.fixture(scope="module")
def everything(exported: Path, dataset_file: Path) -> Distillation:
    """All three terms, and the exported student as the mentor."""
    weights = {"atomic_energy_weight": 1.0, "feature_weight": 0.1, "hessian_weight": 0.1}
    found = find_mentor(exported, weights, load_dataset(dataset_file))
    assert found is not None
    return found
