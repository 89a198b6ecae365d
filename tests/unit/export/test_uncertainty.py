"""σ is a standard deviation on the validation split, and larger where training never was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule

from forcegate_client.dataset import load_dataset
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.structures import of_batch
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.export.uncertainty import calibrate
from forcegate_trainer.fit.batch import batches
from forcegate_trainer.network.config import PRESETS
from forcegate_trainer.network.storage import load_student
from forcegate_trainer.network.student import student


def test_errors_over_sigma_have_unit_spread_on_the_validation_split(
    run_folder: Path, dataset_file: Path
) -> None:
    model, architecture, _ = load_student(run_folder)
    dataset = load_dataset(dataset_file)
    cutoff = architecture.cutoff
    train, validation = dataset.frame_indices("train"), dataset.frame_indices("validation")
    calibrate(model, dataset, train, validation, architecture.reach)
    ratios = []
    for batch in batches(dataset, validation, 4, cutoff):
        energy, _, _, sigma, _ = model(*batch.inputs)
        ratios.append(((energy - batch.energies) / sigma).detach().numpy())
    assert abs(np.sqrt(np.mean(np.concatenate(ratios) ** 2)) - 1.0) < 1e-6


def test_novelty_is_about_one_on_the_training_set(exported: Path, dataset_file: Path) -> None:
    runtime = TorchScriptRuntime(exported)
    dataset = load_dataset(dataset_file)
    squares = []
    train = dataset.frame_indices("train")
    for start in range(0, len(train), 8):
        frames = structures_of(dataset).select(train[start : start + 8])
        squares.append(runtime.evaluate(of_batch(frames)).atom_novelty ** 2)
    assert abs(np.sqrt(np.mean(np.concatenate(squares))) - 1.0) < 0.02


def test_a_strange_structure_is_more_novel_and_more_uncertain(exported: Path) -> None:
    runtime = TorchScriptRuntime(exported)
    plain = molecule("CH3CH2OH")
    strange = plain.copy()
    strange.positions *= 0.72
    graph = build_graph(StructureBatch.from_atoms([plain, strange]), 5.0)
    answer = runtime.evaluate(graph)
    half = len(plain)
    assert answer.atom_novelty[half:].max() > 1.5 * answer.atom_novelty[:half].max()
    assert answer.energy_uncertainty[1] > answer.energy_uncertainty[0]


def test_frames_that_no_server_answers_do_not_set_the_uncertainty(dataset_file: Path) -> None:
    dataset = load_dataset(dataset_file)
    train, validation = dataset.frame_indices("train"), dataset.frame_indices("validation")
    config = replace(PRESETS["painn_ultra_tiny"], charges=True)
    first = dataset.molecule_id[validation] == dataset.molecule_id[validation[0]]
    charge, energies = dataset.molecules.charge.copy(), dataset.energies.copy()
    charge[dataset.molecule_id[validation[0]]] = 9
    energies[validation[first]] += 1000.0
    wrong = replace(dataset, energies=energies, molecules=replace(dataset.molecules, charge=charge))
    found = []
    for data, frames in ((wrong, validation), (dataset, validation[~first])):
        torch.manual_seed(0)
        model = student(config).eval()
        # It takes everything for neutral.
        last = model.get_submodule("network.stages.rest.rest.rest.last")
        last.weight.data[1] = 0.0
        last.bias.data[1] = 0.0
        found.append(calibrate(model, data, train, frames, config.reach))
    assert found[0] == found[1]
