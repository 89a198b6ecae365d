"""Versions of interface 2, as they are exported: cut, joined, in a process, by the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.structures import keep_structures, merge, slice_structures
from forcegate_service.runtimes.process.host import InferenceHost
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from support.versions import write_random_version

# Networks are float32, and round in other ways in batches of other sizes, and in the engine.
ATOL = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_version(tmp_path_factory.mktemp("models"), charges=True)


@pytest.fixture(scope="module")
def runtime(folder: Path) -> TorchScriptRuntime:
    return TorchScriptRuntime(folder)


@pytest.fixture(scope="module")
def mixed(runtime: TorchScriptRuntime) -> Graph:
    """Open and periodic structures, a lone atom, and one without any edge."""
    crystal = molecule("CH3OH")
    crystal.set_cell([5.1, 5.5, 6.0])
    crystal.pbc = True
    apart = molecule("H2O")
    apart.positions *= 30.0
    structures = [molecule("CH3COOH"), crystal, molecule("O"), apart, molecule("NH3")]
    return build_graph(StructureBatch.from_atoms(structures), *runtime.card.reach)


def assert_close(one: ModelOutput, other: ModelOutput) -> None:
    assert one.columns.keys() == other.columns.keys()
    for name, column in one.columns.items():
        atol = ATOL * max(1.0, np.abs(column).max())
        np.testing.assert_allclose(column, other.columns[name], rtol=0, atol=atol, err_msg=name)


def joined(runtime: TorchScriptRuntime, graphs: list[Graph]) -> ModelOutput:
    return ModelOutput.joined([runtime.evaluate(graph) for graph in graphs])


def test_pieces_of_a_graph_have_the_answers_of_the_whole(
    runtime: TorchScriptRuntime, mixed: Graph
) -> None:
    whole = runtime.evaluate(mixed)
    size = len(mixed.n_atoms)
    alone = [slice_structures(mixed, k, k + 1) for k in range(size)]
    assert_close(joined(runtime, alone), whole)
    assert_close(runtime.evaluate(merge(alone)), whole)
    keep = np.array([True, False, True, True, False])
    kept = whole.part(keep, keep[mixed.structure_index])
    assert_close(runtime.evaluate(keep_structures(mixed, keep)), kept)


def test_the_inference_process_answers_as_the_module_does(
    folder: Path, runtime: TorchScriptRuntime, mixed: Graph
) -> None:
    host = InferenceHost(1, "cpu")
    try:
        hosted = host.open(folder)
        assert_close(hosted.evaluate(mixed), runtime.evaluate(mixed))
    finally:
        host.close()


def test_a_version_without_charges_is_answered_by_the_same_process(
    tmp_path: Path, folder: Path, mixed: Graph, runtime: TorchScriptRuntime
) -> None:
    plain = write_random_version(tmp_path, "plain", engine=False)
    graph = build_graph(StructureBatch.from_atoms([molecule("CH3OH")]), 5.0)
    host = InferenceHost(1, "cpu")
    try:
        one, other = host.open(plain), host.open(folder)
        for _ in range(2):
            assert one.evaluate(graph).charges is None
            assert_close(other.evaluate(mixed), runtime.evaluate(mixed))
    finally:
        host.close()


def test_pairs_of_open_structures_have_no_end_and_those_of_periodic_ones_do(
    runtime: TorchScriptRuntime, mixed: Graph
) -> None:
    assert mixed.pairs is not None
    assert mixed.pairs.cutoff.tolist() == [0.0, 12.0, 0.0, 0.0, 0.0]
    counts = mixed.pairs.per_structure(mixed.n_atoms)
    open_ones = np.array([0, 2, 3, 4])
    sizes = mixed.n_atoms[open_ones]
    assert counts[open_ones].tolist() == (sizes * (sizes - 1) // 2).tolist()
    first, second = mixed.pairs.index
    vectors = mixed.positions[second] - mixed.positions[first] + mixed.pairs.shift
    distances = np.linalg.norm(vectors, axis=1)[mixed.structure_index[first] == 1]
    assert 11.5 < distances.max() < 12.0


def test_a_far_pair_acts_beyond_the_cutoff(runtime: TorchScriptRuntime) -> None:
    near, far = molecule("H2O"), molecule("H2O")
    far.positions += [9.0, 0.0, 0.0]
    apart, together = (
        runtime.evaluate(build_graph(StructureBatch.from_atoms(parts), *runtime.card.reach))
        for parts in ([near, far], [near + far])
    )
    assert apart.charges is not None
    np.testing.assert_allclose(together.charges, apart.charges, atol=ATOL)
    assert abs(together.energy[0] - apart.energy.sum()) > 1e-6
    assert np.abs(together.forces - apart.forces).max() > 1e-6


def test_the_same_memory_is_not_written_to(runtime: TorchScriptRuntime) -> None:
    water = StructureBatch.from_atoms([molecule("H2O")])
    graph = build_graph(water, *runtime.card.reach)
    assert graph.pairs is not None
    before = graph.pairs.index.copy()
    with torch.inference_mode():
        runtime.evaluate(graph)
    again = build_graph(water, *runtime.card.reach)
    assert again.pairs is not None
    np.testing.assert_array_equal(again.pairs.index, before)
