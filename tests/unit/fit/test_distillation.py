"""What a student learns from a larger one is what that one says, about training frames alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forcegate_client.dataset import (
    Dataset,
    DatasetMismatchError,
    Split,
    TeacherRecord,
    load_dataset,
    write_dataset,
)
from forcegate_service.contract.graph import build_graph
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.config import Distillation, FitConfig
from forcegate_trainer.fit.data import load_extra, load_training_data
from forcegate_trainer.fit.distillation.hints import HessianDraw, Mentoring
from forcegate_trainer.fit.distillation.loss import distillation_errors
from forcegate_trainer.fit.distillation.mentor import load_mentor
from forcegate_trainer.fit.distillation.questions import STEP, displaced
from forcegate_trainer.fit.distillation.targets import (
    open_targets,
    prepare_targets,
)
from forcegate_trainer.fit.graphs import FrameGraphs
from forcegate_trainer.fit.run import fit
from forcegate_trainer.network.potential import Potential, last_layer
from forcegate_trainer.network.storage import (
    CHECKPOINT_NAME,
    CONFIG_NAME,
    METRICS_NAME,
    load_checkpoint,
)
from support.datasets import label_file
from support.runs import small_config

CUTOFF = 5.0
# Of a row in float32, a difference of forces of some eV/Å over 0.02 Å.
ROW_TOLERANCE = 5e-3  # eV/Å²


def _quiet(step: int, total: int, known: dict[str, float]) -> None:
    """A progress report that nobody reads."""


@pytest.fixture(scope="module")
def prepared(
    everything: Distillation, training: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare_targets(everything, training, folder, seed=0)
    return folder


def _mentoring(model: Potential, everything: Distillation, data: Dataset, home: Path) -> Mentoring:
    reference = np.zeros(int(model.element_of.shape[0]))
    elements = torch.tensor([1, 6, 7, 8, 9, 16, 17])
    reference[elements.numpy()] = model.reference_energies.numpy()
    graphs = FrameGraphs.build(data, CUTOFF)
    return Mentoring(data, graphs, open_targets(everything, home), everything, reference)


def test_an_exported_student_is_the_one_that_was_trained(run_folder: Path, exported: Path) -> None:
    loaded, card = load_mentor(exported)
    best = torch.load(run_folder / "best.pt", weights_only=True)
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, best[name])
    assert card.digest.startswith("sha256:")


def test_a_student_agrees_with_itself_in_every_term(
    everything: Distillation, exported: Path, training: Dataset, prepared: Path
) -> None:
    mentor, _ = load_mentor(exported)
    mentoring = _mentoring(mentor, everything, training, prepared)
    frames = np.arange(8)
    batch = mentoring.batch(frames, mentoring.draw(frames, 0, 0))
    assert batch.hints is not None
    assert batch.hints.features is not None
    width = batch.hints.features.shape[1]
    # What a student with the mentor's features would learn: their own standard units.
    targets = open_targets(everything, prepared).features
    assert targets is not None
    exact = torch.nn.Linear(width, width)
    with torch.no_grad():
        exact.weight.copy_(torch.diag(torch.from_numpy(1.0 / targets.spread)))
        exact.bias.copy_(torch.from_numpy(-targets.mean / targets.spread))
    force, energy, atomic, feature, row = distillation_errors(
        mentor, exact, batch.inputs, batch.energies, batch.forces, batch.whole, *batch.hints
    ).tolist()
    assert force > 0.01
    assert energy > 1e-4
    assert atomic < 1e-5
    assert feature < 1e-4  # what float16 leaves out
    assert row < 0.01 + ROW_TOLERANCE  # the rounded tip of the norm is 0.01


def test_the_energies_of_a_mentor_with_other_reference_energies_are_told_on_the_same_scale(
    everything: Distillation, exported: Path, training: Dataset, prepared: Path
) -> None:
    student, _ = load_mentor(exported)
    student.reference_energies += torch.arange(7.0)
    # Atomic energies shifted by what the reference energies take away: the same total.
    shifted = _mentoring(student, everything, training, prepared)
    frames = np.arange(8)
    batch = shifted.batch(frames, shifted.draw(frames, 0, 0))
    assert batch.hints is not None
    assert batch.hints.atomic_energies is not None
    n_atoms = len(batch.forces)
    element = student.element_of[batch.inputs[1][:n_atoms]]
    _, _, _, _, features = student.evaluate(*batch.inputs)
    own = last_layer(student)(features[:n_atoms]).squeeze(1)
    expected = own - element.double()
    assert torch.allclose(batch.hints.atomic_energies, expected.double(), atol=1e-5)


def test_a_row_of_the_hessian_is_the_mean_derivative_of_the_forces_along_the_step(
    everything: Distillation, exported: Path, training: Dataset, prepared: Path
) -> None:
    mentor, _ = load_mentor(exported)
    wide = mentor.double()
    rows = open_targets(everything, prepared).rows
    assert rows is not None
    points, weights = np.polynomial.legendre.leggauss(9)
    for frame in (0, 9, 17):
        graph = build_graph(structures_of(training).select([frame]), CUTOFF)
        positions, *others = map(torch.from_numpy, graph.arrays())
        atom, axis = rows.moved[1, frame].tolist()
        expected = np.zeros(positions.shape)
        for point, weight in zip(points, weights, strict=True):
            moving = positions.clone()
            moving[atom, axis] += STEP * point
            moving.requires_grad_()
            # By autograd of the written-out forces: no difference of anything.
            forces = wide.evaluate(moving, *others)[1]
            (row,) = torch.autograd.grad(-forces[atom, axis], moving)
            expected += 0.5 * weight * row.numpy()
        found = rows.values[1][training.atoms_of(frame)]
        assert np.abs(found - expected).max() < ROW_TOLERANCE
        assert np.abs(expected).max() > 100 * ROW_TOLERANCE


def test_pairs_of_geometries_differ_in_one_coordinate_by_two_steps(training: Dataset) -> None:
    graphs = FrameGraphs.build(training, CUTOFF)
    frames, asked = np.array([3, 8, 20]), np.array([8, 20])
    moved = np.array([[2, 0], [5, 2]])
    graph = displaced(graphs.select(np.concatenate([frames, asked, asked])), moved)
    starts = np.cumsum(graph.n_atoms) - graph.n_atoms
    plain = graphs.select(frames)
    n_atoms = len(plain.positions)
    np.testing.assert_array_equal(graph.positions[:n_atoms], plain.positions)
    for row, (atom, axis) in enumerate(moved):
        ahead, behind = (
            graph.positions[starts[first + row] :][: training.n_atoms[asked[row]]]
            for first in (3, 5)
        )
        difference = ahead - behind
        assert difference[atom, axis] == pytest.approx(2 * STEP)
        assert np.count_nonzero(difference) == 1


def test_rows_are_drawn_anew_in_every_step_and_shared_out_without_loss(
    everything: Distillation, exported: Path, training: Dataset, prepared: Path
) -> None:
    mentor, _ = load_mentor(exported)
    student = mentor.double()
    mentoring = _mentoring(student, everything, training, prepared)
    frames = np.arange(16)
    draws = [HessianDraw(frames, everything, 0, step) for step in (0, 0, 1)]
    assert (draws[0].chosen == draws[1].chosen).all()
    assert (draws[0].chosen != draws[2].chosen).any()
    assert draws[0].chosen.sum() == 4
    feature_map = torch.nn.Linear(12, 12).double()

    def terms(share: np.ndarray) -> torch.Tensor:
        batch = mentoring.batch(share, draws[0])
        return distillation_errors(
            student, feature_map, batch.inputs, batch.energies, batch.forces, batch.whole,
            *(hint if hint is None else hint.double() for hint in batch.hints or ()),
        )  # fmt: skip

    # The second share may have none of the frames that are asked for a row.
    whole, parts = terms(frames), [terms(frames[draws[0].chosen]), terms(frames[~draws[0].chosen])]
    assert torch.allclose(parts[0] + parts[1], whole, rtol=1e-12)


def test_a_distilled_run_survives_an_interruption_with_all_that_belongs_to_it(
    everything: Distillation, dataset_file: Path, tmp_path: Path
) -> None:
    config = small_config(
        dataset_file, epochs=4, seed=3, learning_rate=3e-3, distillation=everything
    )
    fit(config, tmp_path / "whole", _quiet)

    def stop(step: int, total: int, known: dict[str, float]) -> None:
        if step == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(config, tmp_path / "cut", stop)
    fit(config, tmp_path / "cut", _quiet)
    whole, cut = (load_checkpoint(tmp_path / name / CHECKPOINT_NAME) for name in ("whole", "cut"))
    for part in ("model", "average", "feature_map"):
        for name, value in whole[part].items():
            assert torch.equal(value, cut[part][name]), f"{part} {name}"
    assert FitConfig.load(tmp_path / "whole" / CONFIG_NAME) == config
    rows = [json.loads(line) for line in (tmp_path / "cut" / METRICS_NAME).read_text().splitlines()]
    assert len(rows) == 4
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_two_workers_distil_as_one_does(
    everything: Distillation, dataset_file: Path, tmp_path: Path
) -> None:
    losses: dict[int, list[float]] = {1: [], 2: []}
    for workers, found in losses.items():
        config = small_config(
            dataset_file, epochs=2, workers=workers, distillation=everything, learning_rate=1e-4
        )
        fit(
            config,
            tmp_path / str(workers),
            lambda step, total, known, found=found: found.append(known["loss"]),  # type: ignore[misc]
        )
    assert losses[2] == pytest.approx(losses[1], rel=1e-3)


@pytest.fixture(scope="module")
def extra_file(
    exported: Path, dataset_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Frames of training molecules moved a little, with labels in the name of a student."""
    folder = tmp_path_factory.mktemp("extra")
    dataset = load_dataset(dataset_file)
    frames = dataset.select(dataset.frame_indices("train"))
    shaken = np.round(frames.positions + 0.01, 4)
    mentor, card = load_mentor(exported)
    graph = build_graph(structures_of(replace(frames, positions=shaken)), CUTOFF)
    energies, forces, _, _, _ = mentor.evaluate(*map(torch.from_numpy, graph.arrays()))
    record = TeacherRecord("student:x/1", card.digest, {"teacher": card.teacher})
    labelled = replace(
        frames,
        positions=shaken,
        energies=energies.numpy(),
        forces=np.round(forces.numpy(), 5),
        teacher=record,
    )
    write_dataset(folder / "extra.h5", labelled)
    return folder / "extra.h5"


def _with_extra(dataset_file: Path, extra_file: Path) -> FitConfig:
    dataset = load_dataset(dataset_file)
    known = load_extra((str(extra_file),), dataset).record
    return small_config(dataset_file, epochs=1, extra=known)


def test_extra_frames_are_trained_on_and_never_judged_by(
    dataset_file: Path, extra_file: Path, tmp_path: Path
) -> None:
    config = _with_extra(dataset_file, extra_file)
    data, alone = load_training_data(config), load_training_data(small_config(dataset_file))
    assert len(data.training) == 2 * len(alone.training)
    assert data.n_taught == len(alone.training)
    assert data.validation.content_hash() == alone.validation.content_hash()
    fit(config, tmp_path, _quiet)
    (row,) = (tmp_path / METRICS_NAME).read_text().splitlines()
    assert json.loads(row)["step"] == len(data.training) // config.batch_size
    stored = FitConfig.load(tmp_path / CONFIG_NAME)
    assert stored == config
    assert stored.extra is not None
    assert stored.extra.teacher == "student:x/1"


@pytest.mark.parametrize("split", ["validation", "test"])
def test_extra_frames_of_other_molecules_than_those_for_training_are_refused(
    dataset_file: Path, extra_file: Path, tmp_path: Path, split: str
) -> None:
    dataset, extra = load_dataset(dataset_file), load_dataset(extra_file)
    leaked = replace(dataset.select(dataset.frame_indices(split)), teacher=extra.teacher)
    write_dataset(tmp_path / "honest.h5", leaked)
    with pytest.raises(SettingsError, match="expected training molecules alone"):
        load_extra((str(tmp_path / "honest.h5"),), dataset)
    # A file that calls them training molecules contradicts the datasets.
    renamed = replace(leaked.molecules, split=np.full(len(leaked.molecules), int(Split.TRAIN)))
    write_dataset(tmp_path / "renamed.h5", replace(leaked, molecules=renamed))
    with pytest.raises(DatasetMismatchError):
        load_extra((str(tmp_path / "renamed.h5"),), dataset)


def test_extra_frames_of_another_method_are_refused(
    dataset_file: Path, extra_file: Path, tmp_path: Path
) -> None:
    dataset, extra = load_dataset(dataset_file), load_dataset(extra_file)
    stranger = {"name": "tblite:GFN1-xTB", "version": "0", "settings": {}}
    for teacher in (
        TeacherRecord("tblite:GFN1-xTB", "0"),
        TeacherRecord("student:x/1", "sha256:0", {"teacher": stranger}),
    ):
        write_dataset(tmp_path / "other.h5", replace(extra, teacher=teacher))
        with pytest.raises(SettingsError, match="not a student of"):
            load_extra((str(tmp_path / "other.h5"),), dataset)


def test_a_student_labels_frames_and_is_named_by_its_weights(
    dataset_file: Path, tmp_path: Path
) -> None:
    dataset = load_dataset(dataset_file)
    card = write_fake_model(tmp_path / "models", name="toy")
    train = dataset.select(dataset.frame_indices("train"))
    named = replace(train.molecules, smiles=("CCO", "CCl", "FC(F)F", "CS", "CC(N)=O"))
    bare = replace(train, molecules=named, energies=None, forces=None, teacher=None)
    write_dataset(tmp_path / "bare.h5", bare)
    labelled = label_file(
        tmp_path / "bare.h5",
        tmp_path / "labelled.h5",
        f"student:{tmp_path / 'models' / 'toy' / '1'}",
    )
    assert len(labelled) + sum(labelled.dropped.values()) == len(train)
    assert labelled.teacher is not None
    assert labelled.teacher.name == "student:toy/1"
    assert labelled.teacher.version == card.digest
    assert labelled.teacher.settings["teacher"] == card.teacher
    assert labelled.energies is not None
    assert labelled.forces is not None
    from forcegate_service.runtimes.fake import FakeRuntime

    alone = FakeRuntime(card).evaluate(build_graph(structures_of(labelled), card.cutoff))
    np.testing.assert_allclose(labelled.energies, alone.energy, atol=1e-9)
    np.testing.assert_allclose(labelled.forces, alone.forces, atol=0.6e-5)
