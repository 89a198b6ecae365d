"""The compiled training step computes what the eager one does, for any shape."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from forcegate_client.dataset import Dataset, write_dataset
from forcegate_service.contract.card import ModelCard
from forcegate_trainer.export.version import export
from forcegate_trainer.fit.batch import FrameBatch, frame_batch
from forcegate_trainer.fit.config import Distillation, FitConfig
from forcegate_trainer.fit.distillation.hints import Mentoring
from forcegate_trainer.fit.distillation.targets import open_targets, prepare_targets
from forcegate_trainer.fit.graphs import FrameGraphs
from forcegate_trainer.fit.run import fit
from forcegate_trainer.fit.step import TrainingStep
from forcegate_trainer.network.config import PRESETS
from forcegate_trainer.network.potential import Potential
from forcegate_trainer.network.storage import CHECKPOINT_NAME, load_checkpoint
from support.datasets import labelled_dataset
from support.runs import small_config

pytestmark = pytest.mark.system

_CONFIG = FitConfig(
    model="painn_ultra_tiny",
    architecture=PRESETS["painn_ultra_tiny"],
    datasets=(),
    dataset_hash="",
    epochs=1,
)
_RATE = 1e-3


def _quiet(step: int, total: int, known: dict[str, float]) -> None:
    """A progress report that nobody reads."""


def _assert_same_steps(
    config: FitConfig,
    batch_of: Callable[[int, int], FrameBatch],
    sizes: tuple[int, ...],
    mentor_features: int | None = None,
) -> None:
    steps = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = Potential(config.architecture)
        steps.append(TrainingStep(model, replace(config, compile=compiled), mentor_features))
    torch._dynamo.reset()
    counters.clear()
    for number, size in enumerate(sizes):
        batch = batch_of(number, size)
        values, gradients = [], []
        for take_step in steps:
            values.append(take_step.read(take_step(batch, _RATE, number)).loss)
            gradients.append(torch.cat([p.grad.reshape(-1) for p in take_step.model.parameters()]))
        assert values[1] == pytest.approx(values[0], rel=1e-5)
        error = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
        assert error < 1e-4
        # AdamW turns a rounding of a gradient near zero into a whole step.
        if steps[0].feature_map is not None and steps[1].feature_map is not None:
            steps[1].feature_map.load_state_dict(steps[0].feature_map.state_dict())
        steps[1].model.load_state_dict(steps[0].model.state_dict())
    assert counters["stats"]["unique_graphs"] <= 2


def test_steps_are_the_same_compiled_and_eager_and_changing_shapes_compile_at_most_twice() -> None:
    dataset = labelled_dataset(frames_per_molecule=12)
    graphs = FrameGraphs.build(dataset, 5.0)
    rng = np.random.default_rng(0)
    _assert_same_steps(
        _CONFIG,
        lambda number, size: frame_batch(dataset, graphs, rng.permutation(len(dataset))[:size]),
        # From less than a hundred edges to more than 4,096, where generated code may change.
        (4, 3, 5, 16, 90, 1, 7, 100, 16),
    )


@pytest.fixture(scope="module")
def dataset_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "frames.h5"
    write_dataset(path, labelled_dataset())
    return path


def _training(dataset: Dataset) -> Dataset:
    return dataset.select(dataset.frame_indices("train"))


def test_steps_that_learn_from_a_mentor_are_the_same_compiled_and_eager(
    dataset_file: Path, tmp_path: Path
) -> None:
    fit(small_config(dataset_file, epochs=1), tmp_path / "run", _quiet)
    folder = export(tmp_path / "run", tmp_path / "models")
    settings = Distillation(
        str(folder), ModelCard.load(folder).digest, 1.0, 0.1, 0.1, hessian_share=0.5
    )
    data = _training(labelled_dataset(frames_per_molecule=24))
    prepare_targets(settings, data, tmp_path, 0)
    targets = open_targets(settings, tmp_path)
    assert targets.features is not None
    graphs = FrameGraphs.build(data, 5.0)
    mentoring = Mentoring(data, graphs, targets, settings, np.zeros(18))
    rng = np.random.default_rng(0)

    def batch_of(number: int, size: int) -> FrameBatch:
        frames = rng.permutation(len(data))[:size]
        return mentoring.batch(frames, mentoring.draw(frames, 0, number))

    width = targets.features.values.shape[1]
    _assert_same_steps(replace(_CONFIG, distillation=settings), batch_of, (4, 16, 7), width)


def test_a_compiled_run_that_was_interrupted_ends_as_the_uninterrupted_one(
    dataset_file: Path, tmp_path: Path
) -> None:
    config = small_config(dataset_file, epochs=4, compile=True)
    torch._dynamo.reset()
    fit(config, tmp_path / "whole", _quiet)

    def stop(step: int, total: int, known: dict[str, float]) -> None:
        if step == 13:
            raise KeyboardInterrupt

    torch._dynamo.reset()
    with pytest.raises(KeyboardInterrupt):
        fit(config, tmp_path / "cut", stop)
    # As in a new process, the first batch that is seen is another one.
    torch._dynamo.reset()
    fit(config, tmp_path / "cut", _quiet)
    whole, cut = (load_checkpoint(tmp_path / name / CHECKPOINT_NAME) for name in ("whole", "cut"))
    for part in ("model", "average"):
        for name, value in whole[part].items():
            assert torch.equal(value, cut[part][name]), f"{part} {name}"
