"""The kernel is the trainer's network, at every shape, on every number of threads."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from forcegate_client.structures import StructureBatch
from forcegate_service.graph import Graph, build_graph
from forcegate_service.graph_potential import GraphPotential
from forcegate_service.kernel.library import build_library, load_library, machine_lanes
from forcegate_service.kernel.network import kernel_potential
from forcegate_service.kernel.shape import KernelShape
from forcegate_service.runtime import ModelOutput
from forcegate_service.subgraph import edge_vectors
from forcegate_trainer.painn.config import PRESETS, PaiNNConfig
from forcegate_trainer.painn.potential import Potential
from support.models import random_potential
from support.random_structures import mixed_batch

CUTOFF = 5.0
# Relative to the largest value of its kind: the kernel rounds in float32, the reference does not.
TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kernel") / "kernel.so"
    build_library(path, machine_lanes())
    load_library(path)
    return path


def shape_of(config: PaiNNConfig) -> KernelShape:
    shape = KernelShape.of(vars(config))
    assert shape is not None
    return shape


def with_kernel(model: Potential, config: PaiNNConfig) -> GraphPotential:
    return kernel_potential(shape_of(config), model.state_dict(), machine_lanes())


def answer(model: torch.nn.Module, graph: Graph) -> ModelOutput:
    with torch.inference_mode():
        outputs = model(*(torch.from_numpy(array) for array in graph.arrays()))
    return ModelOutput(*(output.numpy() for output in outputs))


def assert_close(one: ModelOutput, other: ModelOutput) -> None:
    assert one.columns.keys() == other.columns.keys()
    for name, expected in one.columns.items():
        received = other.columns[name]
        scale = max(1.0, np.abs(expected).max(initial=0.0))
        assert np.abs(expected - received).max(initial=0.0) <= TOLERANCE * scale, name


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def molecules() -> list[Atoms]:
    names = ["CH3CH2OH", "C4H4S", "CH3Cl", "HCF3", "CH3CONH2", "H2O", "C2H6NH", "O", "C6H6"]
    structures = [molecule(name) for name in names]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.08, seed=seed)
    return structures


def graph_of(*structures: Atoms) -> Graph:
    return build_graph(StructureBatch.from_atoms(structures), CUTOFF)


@pytest.fixture(scope="session")
def pair(library: Path) -> tuple[Potential, GraphPotential]:
    """The smallest student in float64, and the same with the kernel."""
    model = random_potential("painn_ultra_tiny")
    return model, with_kernel(model, PRESETS["painn_ultra_tiny"])


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_kernel_is_every_student(library: Path, name: str) -> None:
    model = random_potential(name)
    graph = graph_of(*molecules())
    assert_close(answer(model, graph), answer(with_kernel(model, PRESETS[name]), graph))


@pytest.mark.parametrize(
    "config",
    [
        PaiNNConfig(width=16, depth=1),
        PaiNNConfig(width=6, depth=2, n_radial=1, elements=(1, 6)),
        PaiNNConfig(width=34, depth=4, n_radial=7, cutoff=3.5),
    ],
    ids=str,
)
def test_width_depth_and_cutoff_are_free(library: Path, config: PaiNNConfig) -> None:
    torch.manual_seed(1)
    model = Potential(config).eval()
    structures = [atoms for atoms in molecules() if set(atoms.numbers) <= set(config.elements)]
    graph = build_graph(StructureBatch.from_atoms(structures), config.cutoff)
    assert_close(answer(model, graph), answer(with_kernel(model, config), graph))


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_images_and_empty_neighborhoods(
    pair: tuple[Potential, GraphPotential], seed: int, size: int
) -> None:
    graph = build_graph(mixed_batch(seed, size), CUTOFF)
    assert_close(answer(pair[0], graph), answer(pair[1], graph))


@pytest.mark.parametrize("n_atoms", [1, 2, 23, 24, 25, 33, 65, 200])
def test_any_number_of_atoms(pair: tuple[Potential, GraphPotential], n_atoms: int) -> None:
    rng = np.random.default_rng(n_atoms)
    positions = rng.uniform(0.0, 2.2 * n_atoms ** (1 / 3), (n_atoms, 3))
    graph = graph_of(Atoms(rng.choice([1, 6, 8, 17], n_atoms), positions))
    assert_close(answer(pair[0], graph), answer(pair[1], graph))


def test_a_structure_is_computed_the_same_in_every_batch(
    pair: tuple[Potential, GraphPotential],
) -> None:
    # To the last bit before the sums over a batch, which are in float64.
    structures = molecules() * 7
    together = answer(pair[1], graph_of(*structures))
    start = 0
    for atoms in structures:
        alone = answer(pair[1], graph_of(atoms)).forces
        assert np.abs(together.forces[start : start + len(atoms)] - alone).max() <= 1e-13
        start += len(atoms)


@pytest.mark.parametrize("structures", [1, 9], ids=["one large", "many small"])
def test_the_number_of_threads_changes_nothing(
    pair: tuple[Potential, GraphPotential], structures: int
) -> None:
    rng = np.random.default_rng(0)
    batch = [Atoms("C" * 90, rng.uniform(0, 11, (90, 3))) for _ in range(structures)]
    graph = graph_of(*batch)
    alone = answer(pair[1], graph)
    with threads(2):
        shared = answer(pair[1], graph)
    assert np.array_equal(alone.forces, shared.forces)


def test_a_pair_beyond_the_cutoff_sends_nothing(pair: tuple[Potential, GraphPotential]) -> None:
    # A list with a skin holds such pairs.
    near = Atoms("COH", [[0, 0, 0], [1.2, 0, 0], [0, 5.3, 0]])
    with_skin = build_graph(StructureBatch.from_atoms([near]), CUTOFF + 0.5)
    without = graph_of(near)
    assert with_skin.n_edges > without.n_edges
    one, other = answer(pair[1], with_skin), answer(pair[1], without)
    assert np.abs(one.forces - other.forces).max() < 1e-12
    assert abs(one.energy - other.energy).max() < 1e-12


def test_unsorted_edges_are_refused(pair: tuple[Potential, GraphPotential]) -> None:
    inputs = [torch.from_numpy(array) for array in graph_of(molecule("H2O")).arrays()]
    inputs[2] = inputs[2].flip(1)
    with pytest.raises(RuntimeError, match="expected edges sorted by center"):
        pair[1](*inputs)


def test_half_a_list_is_refused(pair: tuple[Potential, GraphPotential]) -> None:
    # Only where it would be read out of bounds: two parts that one edge connects one way.
    n = 40
    index = torch.tensor([[30], [0]])
    inputs = (
        *(torch.zeros(n, 3, dtype=torch.float64), torch.ones(n, dtype=torch.int64)),
        *(index, torch.ones(1, 3, dtype=torch.float64)),
        *(torch.zeros(n, dtype=torch.int64), torch.tensor([n])),
    )
    with pytest.raises(RuntimeError, match="expected every pair in both directions"):
        pair[1](*inputs)


PAINN = ("edge_vector", "element", "center", "neighbor", "packed")
COLLECT = ("edge_vector", "gradient", "center", "neighbor", "structure_index", "n_atoms")


def _painn_inputs(pair: tuple[Potential, GraphPotential]) -> dict[str, Any]:
    """What the first operator takes, for a water molecule."""
    graph, network = graph_of(molecule("H2O")), pair[1].network
    shape = network.shape
    return {
        "edge_vector": torch.from_numpy(edge_vectors(graph)),
        "element": torch.zeros(3, dtype=torch.int64),
        "center": torch.from_numpy(graph.edge_index[0]),
        "neighbor": torch.from_numpy(graph.edge_index[1]),
        "packed": network.packed,
        "width": network.widths[0],
        "readout": network.widths[1],
        "features": shape.readout_width,
        "depth": shape.depth,
        "functions": shape.n_radial + 1,
        "elements": len(shape.elements),
        "cutoff": shape.cutoff,
    }


def _collect_inputs(graph: Graph) -> dict[str, Any]:
    vectors = torch.from_numpy(edge_vectors(graph))
    return {
        "edge_vector": vectors,
        "gradient": torch.ones_like(vectors),
        "center": torch.from_numpy(graph.edge_index[0]),
        "neighbor": torch.from_numpy(graph.edge_index[1]),
        "structure_index": torch.from_numpy(graph.structure_index),
        "n_atoms": torch.from_numpy(graph.n_atoms),
    }


def damaged(name: str, value: Any) -> list[Any]:
    """Other lengths, shapes and types of a tensor; numbers that are none of a network's."""
    if isinstance(value, torch.Tensor):
        other = torch.float32 if value.dtype == torch.float64 else torch.float64
        found = [value.to(other), value.unsqueeze(0), value.reshape(-1)[0]]
        if name not in ("element", "structure_index", "n_atoms"):
            found += [value[:-1], value[:0], torch.cat([value, value[:1]])]
        return found
    return [0, -1, value * 1000 + 1, 2**31, 2**62] if isinstance(value, int) else [0.0, -1.0]


@pytest.mark.parametrize("name", [*PAINN, "width", "readout", "features", "depth"])
def test_what_does_not_fit_the_network_is_refused(
    pair: tuple[Potential, GraphPotential], name: str
) -> None:
    inputs = _painn_inputs(pair)
    torch.ops.forcegate.painn(*inputs.values())
    for wrong in damaged(name, inputs[name]):
        with pytest.raises(ValueError, match=r"; expected "):
            torch.ops.forcegate.painn(*(inputs | {name: wrong}).values())


@pytest.mark.parametrize("name", ["functions", "elements", "cutoff"])
def test_other_numbers_than_the_network_s_are_refused(
    pair: tuple[Potential, GraphPotential], name: str
) -> None:
    inputs = _painn_inputs(pair)
    for wrong in damaged(name, inputs[name]):
        with pytest.raises(ValueError, match=r"; expected "):
            torch.ops.forcegate.painn(*(inputs | {name: wrong}).values())


@pytest.mark.parametrize("name", COLLECT)
def test_sums_over_edges_that_do_not_fit_are_refused(library: Path, name: str) -> None:
    inputs = _collect_inputs(graph_of(molecule("H2O")))
    torch.ops.forcegate.collect(*inputs.values())
    for wrong in damaged(name, inputs[name]):
        with pytest.raises(ValueError, match=r"; expected "):
            torch.ops.forcegate.collect(*(inputs | {name: wrong}).values())


@pytest.mark.parametrize("index", [-1, 3, 2**40, -(2**63)])
@pytest.mark.parametrize("name", ["center", "neighbor", "element"])
def test_no_index_leads_out_of_the_arrays(
    pair: tuple[Potential, GraphPotential], name: str, index: int
) -> None:
    index = 7 if (name, index) == ("element", 3) else index
    painn, collect = _painn_inputs(pair), _collect_inputs(graph_of(molecule("H2O")))
    spoilt = painn[name].clone()
    spoilt[-1] = index
    with pytest.raises(RuntimeError):
        torch.ops.forcegate.painn(*(painn | {name: spoilt}).values())
    if name == "element":
        name, spoilt = "structure_index", torch.full((3,), index)
    with pytest.raises(RuntimeError):
        torch.ops.forcegate.collect(*(collect | {name: spoilt}).values())


@pytest.mark.system
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    # Out-of-bounds reads and undefined behaviour, in a process of its own that has the sanitizers.
    runtimes = [
        subprocess.run(
            ["gcc", f"-print-file-name={name}.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan", "libubsan")
    ]
    flags = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize=vptr")
    build_library(tmp_path / "kernel.so", machine_lanes(), (*flags, "-fno-sanitize-recover=all"))
    code = f"""
import torch
from pathlib import Path
from forcegate_service.kernel.library import load_library, machine_lanes
from forcegate_service.kernel.network import kernel_potential
from forcegate_service.kernel.shape import KernelShape
from forcegate_service.graph import build_graph
from forcegate_trainer.painn.config import PRESETS, PaiNNConfig
from forcegate_trainer.painn.potential import Potential
from support.random_structures import mixed_batch
load_library(Path({str(tmp_path / "kernel.so")!r}))
configs = [PRESETS["painn_ultra_tiny"], PRESETS["painn_base"], PaiNNConfig(width=2, depth=1)]
for config in configs:
    torch.manual_seed(0)
    model = Potential(config).eval()
    kernel = kernel_potential(KernelShape.of(vars(config)), model.state_dict(), machine_lanes())
    for seed, size in ((1, 1), (2, 7), (3, 20)):
        graph = build_graph(mixed_batch(seed, size), config.cutoff)
        inputs = [torch.from_numpy(array) for array in graph.arrays()]
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                kernel(*inputs)
        for place in range(len(inputs)):
            cut = [*inputs[:place], inputs[place][..., :-1], *inputs[place + 1 :]]
            try:
                kernel(*cut)
            except (RuntimeError, ValueError, IndexError):
                pass
print("nothing found")
"""
    environment = os.environ | {
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "nothing found", done.stderr[-3000:]


def test_strides_change_nothing(pair: tuple[Potential, GraphPotential]) -> None:
    inputs = [torch.from_numpy(array) for array in graph_of(*molecules()).arrays()]
    strided = [tensor.repeat_interleave(2, -1)[..., ::2] for tensor in inputs]
    for one, other in zip(pair[1](*inputs), pair[1](*strided), strict=True):
        assert torch.equal(one, other)


def test_other_architectures_are_nobodys_shape() -> None:
    assert KernelShape.of({**vars(PRESETS["painn_base"]), "heads": 4}) is None
    assert KernelShape.of({"kind": "soft repulsion"}) is None


@pytest.mark.system
def test_vectors_of_eight_floats_give_the_same_answers(tmp_path: Path) -> None:
    # What machines without AVX-512 compile; a process of its own, since an operator has one body.
    build_library(tmp_path / "kernel.so", 8)
    code = f"""
import numpy as np, torch
from pathlib import Path
from forcegate_service.kernel.library import load_library
from forcegate_service.kernel.network import kernel_potential
from forcegate_service.kernel.shape import KernelShape
from forcegate_service.graph import build_graph
from forcegate_trainer.painn.config import PRESETS
from forcegate_trainer.painn.potential import Potential
from support.random_structures import mixed_batch
load_library(Path({str(tmp_path / "kernel.so")!r}))
for name, config in PRESETS.items():
    torch.manual_seed(0)
    model = Potential(config).eval()
    kernel = kernel_potential(KernelShape.of(vars(config)), model.state_dict(), 8)
    inputs = [torch.from_numpy(a) for a in build_graph(mixed_batch(3, 20), 5.0).arrays()]
    for one, other in zip(model(*inputs), kernel(*inputs)):
        assert (one - other).abs().max() <= {TOLERANCE} * max(1.0, one.abs().max()), name
"""
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tests, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_padding_is_not_seen(library: Path) -> None:
    # Widths that fill their last vector to different parts, with the same weights in front.
    for width in (2, 14, 16, 18):
        config = PaiNNConfig(width=width, depth=2, n_radial=3)
        torch.manual_seed(width)
        model = Potential(config).eval()
        graph = graph_of(*itertools.islice(molecules(), 3))
        assert_close(answer(model, graph), answer(with_kernel(model, config), graph))
