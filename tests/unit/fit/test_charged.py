"""What students with charges learn, and what they are told of complexes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from forcegate_client.dataset import (
    Dataset,
    Frame,
    Labels,
    MoleculeTable,
    Source,
    Split,
    TeacherRecord,
    from_frames,
    load_dataset,
    with_labels,
    write_dataset,
)
from forcegate_service.contract.graph import build_graph
from forcegate_service.models.loading import recognise
from forcegate_service.runtimes.engine import EngineRuntime
from forcegate_service.runtimes.torchscript import TorchScriptRuntime, tensors_of
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.export.version import export
from forcegate_trainer.fit.charged import charged_batch, charged_errors
from forcegate_trainer.fit.graphs import FrameGraphs
from forcegate_trainer.fit.run import fit
from forcegate_trainer.network.charged_potential import ChargedPotential
from forcegate_trainer.network.config import CHARGED_PRESETS, PaiNNConfig
from forcegate_trainer.network.painn import Readout
from forcegate_trainer.network.storage import load_student
from forcegate_trainer.validation.subject import open_subject
from support.models import random_weights
from support.runs import small_config

SHAPE = replace(CHARGED_PRESETS["painn_ultra_tiny"], elements=(1, 6, 7, 8))
AMMONIUM = Atoms(
    "NH4", [[0, 0, 0], [0.6, 0.6, 0.6], [-0.6, -0.6, 0.6], [-0.6, 0.6, -0.6], [0.6, -0.6, -0.6]]
)
WATER = molecule("H2O")


def model_of(shape: PaiNNConfig = SHAPE) -> ChargedPotential:
    torch.manual_seed(1)
    model = random_weights(ChargedPotential(shape).double())
    readout = next(part for part in model.modules() if isinstance(part, Readout))
    with torch.no_grad():
        # Charges of the size that atoms have.
        readout.last.weight[1] *= 0.05
        readout.last.bias[1] *= 0.05
    return model


def frames_of(count: int = 4) -> Dataset:
    """Ethanol, water beside water and ammonium beside water, rattled; validation is methanol."""
    kinds = [
        ("CCO", [molecule("CH3CH2OH")], 0, Split.TRAIN),
        ("O.O", [WATER, WATER], 0, Split.TRAIN),
        ("[NH4+].O", [AMMONIUM, WATER], 1, Split.TRAIN),
        ("CO", [molecule("CH3OH")], 0, Split.VALIDATION),
    ]
    rng = np.random.default_rng(0)
    frames = []
    for row, (_, parts, _, _) in enumerate(kinds):
        for _ in range(count):
            placed = [
                part.positions + np.array([3.0 * k, 0.3, 0.1]) for k, part in enumerate(parts)
            ]
            positions = np.concatenate(placed)
            frames.append(
                Frame(
                    np.concatenate([part.numbers for part in parts]).astype(np.int64),
                    positions + rng.normal(0, 0.05, positions.shape),
                    row,
                    Source.CONTACT,
                    fragment=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
                )
            )
    names = [smiles for smiles, _, _, _ in kinds]
    table = MoleculeTable.closed_shell(names, names, names, [split for *_, split in kinds])
    return from_frames(frames, replace(table, charge=np.array([kind[2] for kind in kinds])))


def labelled_by(model: ChargedPotential, frames: Dataset) -> Dataset:
    """The frames with what ``model`` says of them, and of their parts."""
    blank = Labels(
        energies=np.zeros(len(frames)),
        forces=np.zeros(frames.positions.shape),
        charges=np.zeros(len(frames.positions)),
        separated_energies=np.where(np.char.find(frames.molecules.smiles, ".") >= 0, 0.0, np.nan)[
            frames.molecule_id
        ],
    )
    teacher = TeacherRecord("a student", "0", {})
    empty = with_labels(frames, blank, teacher, frames.flags)
    batch = charged_batch(empty, FrameGraphs.build(empty, 5.0), np.arange(len(empty)))
    with torch.inference_mode():
        energy, forces, _, charges, _, _ = (out.numpy() for out in model.evaluate(*batch.inputs))
    assert batch.charges is not None
    separated = np.full(len(frames), np.nan)
    separated[batch.charges.complex.numpy()] = energy[len(frames) :]
    n_atoms = len(frames.positions)
    labels = Labels(energy[: len(frames)], forces[:n_atoms], charges[:n_atoms], None, separated)
    return with_labels(frames, labels, teacher, frames.flags)


def terms(
    model: ChargedPotential, data: Dataset, rows: np.ndarray, whole: np.ndarray
) -> np.ndarray:
    batch = charged_batch(data, FrameGraphs.build(data, 5.0), rows, whole)
    assert batch.charges is not None
    with torch.inference_mode():
        return charged_errors(
            model, batch.inputs, batch.energies, batch.forces, batch.whole, batch.charges
        ).numpy()


def test_a_student_that_says_what_its_labels_say_has_no_error() -> None:
    model = model_of()
    data = labelled_by(model, frames_of())
    everything = np.arange(len(data))
    force, energy, charge, _, interaction = terms(model, data, everything, everything)
    # Forces are stored to 1e-5 eV/Å, charges to 1e-4 e; the tip of the norm is 1e-4 eV/Å.
    assert force < 2e-4
    assert energy < 1e-9
    assert charge < 5e-5
    assert interaction < 1e-9


def test_net_charges_are_those_of_each_molecule_of_a_complex() -> None:
    data = labelled_by(model_of(), frames_of(1))
    assert data.charges is not None
    charges = data.charges.copy()
    for frame in range(len(data)):
        where = data.atoms_of(frame)
        part = data.fragment[where]
        for number in range(part.max() + 1):
            # A teacher that leaks two hundredths.
            share = charges[where][part == number]
            formal = int(data.charge[frame]) if number == 0 else 0
            charges[where.start + np.flatnonzero(part == number)] += (
                formal + 0.02 - share.sum()
            ) / len(share)
    batch_data = replace(data, charges=charges)
    batch = charged_batch(batch_data, FrameGraphs.build(data, 5.0), np.arange(len(data)))
    assert batch.charges is not None
    assert batch.charges.net_charge.tolist() == [0, 0, 0, 1, 0, 0]


def test_parts_of_a_complex_do_not_see_each_other_when_they_are_apart() -> None:
    model = model_of()
    data = labelled_by(model, frames_of(1))
    pair = int(np.flatnonzero(data.charge == 1)[0])
    batch = charged_batch(data, FrameGraphs.build(data, 5.0), np.array([pair]))
    moved = data.positions.copy()
    where = data.atoms_of(pair)
    moved[where.start + 5 : where.stop] += [0.0, 0.0, 1e6]
    far = replace(data, positions=moved)
    alone = charged_batch(far, FrameGraphs.build(far, 5.0), np.array([pair]))
    with torch.inference_mode():
        apart = model.evaluate(*batch.inputs)[0][1]
        parts = model.evaluate(*alone.inputs)[0][1]
    assert float(apart) == pytest.approx(float(parts), abs=1e-4)


def test_errors_of_shares_add_up_to_those_of_the_batch() -> None:
    data = labelled_by(model_of(), frames_of())
    other = model_of(replace(SHAPE, depth=2))
    everything = np.arange(len(data))
    whole = terms(other, data, everything, everything)
    shares = [terms(other, data, rows, everything) for rows in (everything[::2], everything[1::2])]
    np.testing.assert_allclose(sum(shares), whole, rtol=1e-10)


def test_what_a_teacher_does_not_tell_is_not_learned() -> None:
    model = model_of()
    data = replace(labelled_by(model, frames_of()), charges=None, separated_energies=None)
    everything = np.arange(len(data))
    _, _, charge, net_charge, interaction = terms(model, data, everything, everything)
    assert charge == net_charge == interaction == 0.0


def test_energies_that_no_server_would_answer_with_are_not_learned() -> None:
    model = model_of()
    data = labelled_by(model, frames_of())
    assert data.charges is not None
    assert data.energies is not None
    wrong = replace(data, energies=data.energies + 50.0)
    everything = np.arange(len(data))
    assert terms(model, wrong, everything, everything)[1] > 0.1
    # Every frame has one electron less than it looks like to the student.
    first = np.cumsum(data.n_atoms) - data.n_atoms
    charges = data.charges.copy()
    charges[first] += 1.0
    strange = replace(wrong, charges=charges)
    force, energy, charge, net_charge, interaction = terms(model, strange, everything, everything)
    assert energy == interaction == 0.0
    assert min(charge, net_charge) > 0.05
    assert force < 2e-4


def test_training_makes_every_error_smaller(tmp_path: Path) -> None:
    teacher = model_of(replace(SHAPE, width=8))
    write_dataset(tmp_path / "data.h5", labelled_by(teacher, frames_of(8)))
    config = small_config(
        tmp_path / "data.h5", epochs=40, architecture=SHAPE, learning_rate=3e-3, batch_size=8
    )
    fit(config, tmp_path / "run", lambda step, total, known: None)
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    first, last = json.loads(rows[0]), json.loads(rows[-1])
    for name in ("force_rmse", "energy_mae_mev_per_atom", "charge_mae_e"):
        assert last[name] < 0.9 * first[name], name
    _exported_alike(tmp_path)


def test_an_error_may_weigh_nothing(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data.h5", labelled_by(model_of(), frames_of()))
    config = small_config(tmp_path / "data.h5", epochs=1, architecture=SHAPE)
    for name in ("charge_weight", "net_charge_weight", "interaction_weight"):
        fit(replace(config, **{name: 0.0}), tmp_path / name, lambda step, total, known: None)
        row = json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1])
        assert np.isfinite(row["loss"])


def _exported_alike(folder: Path) -> None:
    """The run's student answers as before once it is exported, loaded and warmed up."""
    version = export(folder / "run", folder / "models")
    runtime = TorchScriptRuntime(version)
    assert (runtime.card.interface, runtime.card.charges) == (2, True)
    recognise(runtime)
    data = load_dataset(folder / "data.h5")
    # Frames of one molecule: an export moves the zero of each element.
    batch = structures_of(data).select(np.flatnonzero(data.molecule_id == 2)[:4])
    graph = build_graph(batch, *runtime.card.reach)
    served = runtime.evaluate(graph)
    student, *_ = load_student(folder / "run")
    with torch.inference_mode():
        energy, forces, *_, charges = student(*tensors_of(graph))
    with open_subject(str(version)) as subject:
        # What validates it is what will serve it.
        assert isinstance(subject.runtime, EngineRuntime)
        validated = subject.potential(batch, np.arange(4))
    np.testing.assert_allclose(validated.energies, served.energy, atol=1e-4)
    np.testing.assert_allclose(validated.forces, forces.numpy(), atol=1e-4)
    np.testing.assert_allclose(validated.charges, charges.numpy(), atol=1e-5)
    assert served.charges is not None
    moved = served.energy - energy.numpy()
    np.testing.assert_allclose(moved, moved[0], atol=1e-5)
    np.testing.assert_allclose(served.forces, forces.numpy(), atol=1e-5)
    np.testing.assert_allclose(served.charges, charges.numpy(), atol=1e-6)


def test_a_mentor_of_a_student_with_charges_is_refused(tmp_path: Path) -> None:
    from forcegate_trainer.fit.config import Distillation

    write_dataset(tmp_path / "data.h5", labelled_by(model_of(), frames_of(1)))
    assert load_dataset(tmp_path / "data.h5").is_labelled
    mentor = Distillation.__new__(Distillation)
    with pytest.raises(SettingsError, match="mentor"):
        small_config(tmp_path / "data.h5", architecture=SHAPE, distillation=mentor)
