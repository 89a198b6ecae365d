"""An exported version is a pure function of a flat graph, whole, and recognised by its digest."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule

import forcegate_trainer as training_package
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import ENGINE_NAME, MODEL_NAME, ModelCard
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.graph import build_graph
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.export.version import export
from forcegate_trainer.network.storage import load_student
from support.evaluation import evaluate


def test_the_script_answers_as_the_eager_model_does(exported: Path, run_folder: Path) -> None:
    eager, *_ = load_student(run_folder)
    structures = [molecule(name) for name in ("CH3CH2OH", "HCF3", "CH3SH")]
    for atoms in tuple(structures):
        atoms.rattle(0.05, seed=1)
        structures.append(atoms.copy())
        atoms.rattle(0.05, seed=2)
    graph = build_graph(StructureBatch.from_atoms(structures), 5.0)
    served = TorchScriptRuntime(exported).evaluate(graph)
    expected = evaluate(eager, *structures)
    # float32 inside; both take the same steps in the same order. An export moves the zero of each
    # element.
    moved = served.energy - expected.energy
    assert abs(moved[:3] - moved[3:]).max() < 1e-5
    assert abs(served.forces - expected.forces).max() < 1e-5


def test_the_card_recognises_its_own_weights(exported: Path) -> None:
    runtime = TorchScriptRuntime(exported)
    reference = runtime.card.reference
    answer = runtime.evaluate(build_graph(reference.batch(), runtime.card.cutoff))
    assert answer.energy[0] == pytest.approx(reference.energy, abs=1e-5)
    assert abs(answer.forces - np.array(reference.forces)).max() < 1e-5
    assert answer.energy_uncertainty[0] == pytest.approx(reference.energy_uncertainty, rel=1e-4)


@pytest.mark.parametrize(
    ("n_atoms", "edges"), [((1,), 0), ((2,), 2), ((1, 1, 1), 0), ((1, 2), 2), ((), 0)]
)
def test_it_takes_every_shape_down_to_no_edge_and_no_structure(
    exported: Path, n_atoms: tuple[int, ...], edges: int
) -> None:
    positions = np.concatenate(
        [np.array([[0.0, 0.0, 1.1 * k] for k in range(n)]) for n in n_atoms] or [np.empty((0, 3))]
    )
    batch = StructureBatch.from_arrays(n_atoms, np.full(sum(n_atoms), 6), positions)
    graph = build_graph(batch, 5.0)
    assert graph.n_edges == edges
    answer = TorchScriptRuntime(exported).evaluate(graph)
    assert answer.energy.shape == (len(n_atoms),)
    assert answer.forces.shape == (sum(n_atoms), 3)
    assert answer.virial.shape == (len(n_atoms), 3, 3)
    assert all(np.isfinite(part).all() for part in answer.columns.values())


def test_it_runs_in_a_process_that_cannot_import_the_trainer(exported: Path) -> None:
    script = """
import sys
sys.modules["forcegate_trainer"] = None
import torch
model = torch.jit.load(sys.argv[1])
with torch.inference_mode():
    energy, forces, virial, sigma, novelty = model(
        torch.tensor([[0.0, 0, 0], [0, 0, 1.1]], dtype=torch.float64),
        torch.tensor([6, 8]),
        torch.tensor([[0, 1], [1, 0]]),
        torch.zeros(2, 3, dtype=torch.float64),
        torch.tensor([0, 0]),
        torch.tensor([2]),
    )
assert energy.dtype == forces.dtype == virial.dtype == torch.float64
assert forces.shape == (2, 3) and float(forces.sum().abs()) < 1e-12
print("served")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(exported / "model.pt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "served\n", done.stderr


def test_a_changed_model_file_is_refused_before_it_is_loaded(
    exported: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "1"
    shutil.copytree(exported, copy)
    data = bytearray((copy / "model.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.pt").write_bytes(data)
    with pytest.raises(ModelRefused, match="restore the exported file"):
        TorchScriptRuntime(copy)


def test_a_card_that_is_not_one_is_refused(exported: Path, tmp_path: Path) -> None:
    copy = tmp_path / "1"
    shutil.copytree(exported, copy)
    card = json.loads((copy / "model_card.json").read_text())
    del card["cutoff"]
    (copy / "model_card.json").write_text(json.dumps(card))
    with pytest.raises(ModelRefused, match="cutoff"):
        TorchScriptRuntime(copy)


def test_versions_are_immutable_and_numbered_on(run_folder: Path, exported: Path) -> None:
    repository = exported.parents[1]
    with pytest.raises(SettingsError, match="versions are immutable"):
        export(run_folder, repository, "1")
    assert export(run_folder, repository).name == "2"


def test_the_triton_configuration_names_the_arguments_of_the_script(exported: Path) -> None:
    text = (exported.parent / "config.pbtxt").read_text()
    script = torch.jit.load(str(exported / "model.pt"))
    arguments = [argument.name for argument in script.forward.schema.arguments][1:]
    assert all(f'name: "{name}"' in text for name in arguments)
    assert text.count("data_type") == 2 * len(arguments) + 5
    assert 'platform: "pytorch_libtorch"' in text
    assert "max_batch_size: 0" in text


def test_the_card_says_what_the_model_is(exported: Path) -> None:
    card = ModelCard.load(exported)
    assert card.n_parameters <= 21_459
    assert card.teacher["name"] == "tblite:GFN2-xTB"
    assert card.dataset["train"]["molecules"] == 5
    assert set(card.status.values()) == {"not_validated"}
    assert card.digest == card.files["model.pt"]


def test_a_model_file_exchanged_after_the_card_was_checked_is_refused(
    exported: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "1"
    shutil.copytree(exported, copy)
    card = ModelCard.load(copy)
    (copy / "model.pt").write_bytes(b"something else")
    with pytest.raises(ModelRefused, match="restore the exported file"):
        card.read(copy)


def test_an_export_that_is_stopped_leaves_no_version_and_can_be_repeated(
    run_folder: Path, tmp_path: Path
) -> None:
    def stop(title: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(run_folder, tmp_path, tell=stop)
    assert not list(tmp_path.rglob("model_card.json"))
    # As a process leaves it that was killed while it wrote.
    (tmp_path / "painn_ultra_tiny" / ".1.partial").mkdir(parents=True)
    folder = export(run_folder, tmp_path)
    assert folder.name == "1"
    assert ModelCard.load(folder).digest
    folders = {path.name for path in folder.parent.iterdir() if path.is_dir()}
    assert folders == {"1", "configs", "warmup"}


def test_a_model_file_names_no_file_of_the_machine_that_exported_it(exported: Path) -> None:
    trainer = str(Path(training_package.__file__).parents[1]).encode()
    with zipfile.ZipFile(exported / MODEL_NAME) as members:
        assert not [m for m in members.namelist() if trainer in members.read(m)]
    assert trainer not in (exported / ENGINE_NAME).read_bytes()
