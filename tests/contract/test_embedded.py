"""TorchScript in this process serves what was exported, whatever the layout of its inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import MODEL_NAME, ModelCard, Reference, file_digest
from forcegate_service.contract.errors import ModelRefused, RuntimeFault
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_service.models.loading import load_version
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client

CUTOFF = 5.0
ELEMENTS = 100


class Springs(torch.nn.Module):
    """E = ½ Σ_edges w(Z) (1 − r²/25)²: the smallest module with the signature of a real one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(0.01, 1.0, 100, dtype=torch.float64))

    def forward(
        self,
        positions: Tensor,
        atomic_numbers: Tensor,
        edge_index: Tensor,
        edge_shift: Tensor,
        structure_index: Tensor,
        n_atoms: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        center, neighbor = edge_index[0], edge_index[1]
        vector = positions[neighbor] - positions[center] + edge_shift
        weight = self.weight[atomic_numbers]
        weight = 0.5 * weight[center] * weight[neighbor]
        closeness = (1.0 - (vector * vector).sum(1) / 25.0).clamp(min=0.0)
        gradient = (-4.0 / 25.0 * weight * closeness).unsqueeze(1) * vector
        size = n_atoms.shape[0]
        owner = structure_index[center]
        energy = torch.zeros(size, dtype=torch.float64)
        energy = energy.index_add(0, owner, weight * closeness * closeness)
        forces = torch.zeros_like(positions).index_add(0, center, gradient)
        forces = forces.index_add(0, neighbor, -gradient)
        virial = torch.zeros(size, 3, 3, dtype=torch.float64)
        virial = virial.index_add(0, owner, -vector.unsqueeze(2) * gradient.unsqueeze(1))
        return energy, forces, virial, 0.01 * n_atoms.double(), atomic_numbers.double()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / MODEL_NAME
    # TorchScript is what this runtime serves; torch recommends torch.export for new work.
    with pytest.warns(DeprecationWarning, match=r"torch\.jit"):
        torch.jit.script(Springs()).save(str(path))
    return path


@pytest.fixture
def version(tmp_path: Path, weights: Path) -> Path:
    """A repository's version folder with the springs in it."""
    card = write_fake_model(tmp_path, name="springs")
    folder = tmp_path / "springs" / "1"
    (folder / MODEL_NAME).write_bytes(weights.read_bytes())
    blank = card.reference
    graph = build_graph(blank.batch(), CUTOFF)
    with torch.no_grad():
        energy, forces, *_ = Springs()(*map(torch.from_numpy, graph.arrays()))
    reference = Reference(
        atomic_numbers=blank.atomic_numbers,
        positions=blank.positions,
        energy=float(energy[0]),
        forces=forces.tolist(),
        energy_uncertainty=0.03,
    )
    files = {MODEL_NAME: file_digest(folder / MODEL_NAME)}
    card.model_copy(
        update={"files": files, "reference": reference, "architecture": {"kind": "springs"}}
    ).save(folder)
    return folder


def random_graph() -> Graph:
    rng = np.random.default_rng(3)
    batch = StructureBatch.from_arrays(
        n_atoms=[7, 1, 12],
        atomic_numbers=rng.integers(1, 10, 20),
        positions=rng.uniform(0, 6, (20, 3)),
    )
    return build_graph(batch, CUTOFF)


def strided(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same numbers in memory that is not contiguous."""
    padded = np.repeat(array, 2, axis=-1)
    return padded[..., ::2]


def test_strided_inputs_change_nothing(version: Path) -> None:
    runtime = TorchScriptRuntime(version)
    graph = random_graph()
    names = ["positions", "atomic_numbers", "edge_index", "edge_shift"]
    scattered = replace(graph, **{name: strided(getattr(graph, name)) for name in names})
    assert not scattered.edge_index.flags.c_contiguous
    for one, other in zip(runtime.evaluate(graph), runtime.evaluate(scattered), strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_atom_without_neighbours_is_a_valid_input(version: Path) -> None:
    batch = StructureBatch.from_arrays([1], [8], np.zeros((1, 3)))
    output = TorchScriptRuntime(version).evaluate(build_graph(batch, CUTOFF))
    assert output.energy.tolist() == [0.0]
    assert output.forces.tolist() == [[0.0, 0.0, 0.0]]


def test_an_index_out_of_range_is_a_runtime_fault(version: Path) -> None:
    graph = random_graph()
    broken = replace(graph, atomic_numbers=graph.atomic_numbers + ELEMENTS)
    with pytest.raises(RuntimeFault):
        TorchScriptRuntime(version).evaluate(broken)


def test_a_changed_model_file_is_refused_before_it_is_opened(version: Path) -> None:
    (version / MODEL_NAME).write_bytes(b"not a model at all")
    with pytest.raises(ModelRefused, match="sha256"):
        TorchScriptRuntime(version)


def test_other_weights_than_the_card_remembers_are_refused(version: Path) -> None:
    card = ModelCard.load(version)
    other = card.reference.model_copy(update={"energy": card.reference.energy + 0.1})
    card.model_copy(update={"reference": other}).save(version)
    with pytest.raises(ModelRefused, match="reference energy"):
        load_version(version, TorchScriptRuntime)


def test_a_file_that_is_no_torchscript_is_refused(tmp_path: Path) -> None:
    write_fake_model(tmp_path)
    with pytest.raises(ModelRefused, match="fake"):
        load_version(tmp_path / "fake" / "1", TorchScriptRuntime)


@pytest.mark.anyio
async def test_the_gateway_serves_an_exported_model(version: Path, water: dict[str, Any]) -> None:
    settings = Settings(model_repository=version.parents[1], runtime="in-process", torch_threads=1)
    body = {"model": "springs", "structures": [water, water]}
    async with gateway_client(settings) as client:
        response = await client.post("/v1/predict", json=body)
    assert response.status_code == 200, response.text
    reference = ModelCard.load(version).reference
    for result in response.json()["results"]:
        assert result["energy"] == pytest.approx(reference.energy, abs=1e-9)
        np.testing.assert_allclose(result["forces"], reference.forces, atol=1e-9)


def test_read_only_arrays_as_a_message_holds_them_are_evaluated_without_a_warning(
    version: Path,
) -> None:
    runtime = TorchScriptRuntime(version)
    graph = build_graph(runtime.card.reference.batch(), CUTOFF)
    for array in graph.arrays():
        array.setflags(write=False)
    assert np.isfinite(runtime.evaluate(graph).energy).all()
