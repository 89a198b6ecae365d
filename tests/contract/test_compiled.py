"""Compiled code gives the answers of TorchScript at every shape, and is trusted no further."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forcegate_client.structures import StructureBatch
from forcegate_service.allocator import keeping_memory
from forcegate_service.card import PROGRAM_NAME, ModelCard, content_digest
from forcegate_service.compilation import build_id as build_id_module
from forcegate_service.compilation.ahead import compile_ahead
from forcegate_service.compilation.build import Build, Built
from forcegate_service.compilation.build_id import build_id
from forcegate_service.compilation.cache import PackageCache, default_cache_dir
from forcegate_service.compilation.parity import check_parity, compare, sample_graphs
from forcegate_service.compiled import CompiledModule, compile_program
from forcegate_service.errors import CompilationFailed
from forcegate_service.graph import Graph, build_graph
from forcegate_service.runtime import ModelOutput
from forcegate_service.settings import Settings
from forcegate_service.torchscript import load_script
from support.versions import write_random_version

# Compiles programs with g++ for a minute.
pytestmark = pytest.mark.system

CUTOFF = 5.0
# eV/Å where forces are of the size of those in molecules; relative to the largest beyond.
TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def script(compiled_version: Path) -> torch.jit.ScriptModule:
    return load_script(ModelCard.load(compiled_version).read(compiled_version))


@pytest.fixture(scope="session")
def package(built: Built) -> CompiledModule:
    return CompiledModule(built.package.path)


def graph_of(sizes: list[int], seed: int = 0) -> Graph:
    rng = np.random.default_rng(seed)
    atoms = sum(sizes)
    batch = StructureBatch.from_arrays(
        n_atoms=sizes,
        atomic_numbers=rng.choice([1, 6, 7, 8, 9, 16, 17], atoms),
        positions=rng.uniform(0, 2.5 * max(sizes) ** (1 / 3), (atoms, 3)),
    )
    return build_graph(batch, CUTOFF)


def evaluate(module: Callable[..., tuple[torch.Tensor, ...]], graph: Graph) -> ModelOutput:
    with torch.inference_mode():
        outputs = module(*(torch.from_numpy(array.copy()) for array in graph.arrays()))
    return ModelOutput(*(output.numpy() for output in outputs))


def assert_equal(one: ModelOutput, other: ModelOutput) -> None:
    assert one.columns.keys() == other.columns.keys()
    for name, expected in one.columns.items():
        received = other.columns[name]
        assert expected.shape == received.shape, name
        assert received.dtype == np.float64, name
        scale = max(1.0, np.abs(expected).max(initial=0.0))
        assert np.abs(expected - received).max(initial=0.0) <= TOLERANCE * scale, name


@pytest.mark.parametrize(
    "sizes", [[1], [1, 1], [2], [1] * 9, [21], [21, 1, 2], [5] * 33, [300]], ids=str
)
def test_one_package_serves_every_shape(
    script: torch.jit.ScriptModule, package: CompiledModule, sizes: list[int]
) -> None:
    graph = graph_of(sizes)
    assert (graph.n_edges == 0) == (max(sizes) == 1)
    assert_equal(evaluate(script, graph), evaluate(package, graph))


@settings(max_examples=60)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_compiled_equals_scripted(
    script: torch.jit.ScriptModule, package: CompiledModule, sizes: list[int], seed: int
) -> None:
    graph = graph_of(sizes, seed)
    assert_equal(evaluate(script, graph), evaluate(package, graph))


def test_strides_change_nothing(package: CompiledModule) -> None:
    tensors = [torch.from_numpy(array.copy()) for array in graph_of([7, 1, 12]).arrays()]
    strided = [tensor.repeat_interleave(2, -1)[..., ::2] for tensor in tensors]
    assert not any(tensor.is_contiguous() for tensor in strided)
    for one, other in zip(package(*tensors), package(*strided), strict=True):
        assert torch.equal(one, other)


def test_running_a_package_loads_no_compiler_and_leaves_no_files(
    built: Built, tmp_path: Path
) -> None:
    code = (
        "import sys, torch; from pathlib import Path;"
        "from forcegate_service.compiled import CompiledModule;"
        f"module = CompiledModule(Path({str(built.package.path)!r}));"
        "f, i = torch.float64, torch.int64;"
        "shape = lambda n: (torch.arange(3.0 * n, dtype=f).reshape(n, 3), torch.ones(n, dtype=i),"
        " torch.zeros(2, 0, dtype=i), torch.zeros(0, 3, dtype=f), torch.arange(n),"
        " torch.ones(n, dtype=i));"
        "[module(*shape(n)) for n in (1, 2, 3, 50)];"
        "print('torch._inductor.compile_fx' in sys.modules)"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.strip() == "False", done.stderr
    assert not list(tmp_path.iterdir())


def test_the_build_was_judged_at_many_shapes(compiled_version: Path, built: Built) -> None:
    assert not built.cached
    assert 0.0 <= built.deviation <= TOLERANCE * 10
    graphs = list(sample_graphs(ModelCard.load(compiled_version)))
    assert min(graph.n_edges for graph in graphs) == 0
    assert {1} < {len(graph.n_atoms) for graph in graphs}
    assert any(graph.edge_shift.any() for graph in graphs)


def test_a_package_of_another_model_is_refused(
    compiled_version: Path, script: torch.jit.ScriptModule, package: CompiledModule
) -> None:
    card = ModelCard.load(compiled_version)

    def other(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        energy, forces, *rest = package(*tensors)
        return energy, forces * 1.001, *rest

    with pytest.raises(CompilationFailed, match="forces"):
        check_parity(card, script, other)


def test_not_a_number_is_no_agreement() -> None:
    zero = ModelOutput(*(np.zeros(1) for _ in ModelOutput._fields))
    with pytest.raises(CompilationFailed, match="energy"):
        compare(zero, zero._replace(energy=np.full(1, np.nan)))


@pytest.mark.system
def test_where_there_is_no_kernel_the_program_is_compiled(
    compiled_version: Path, script: torch.jit.ScriptModule, tmp_path: Path
) -> None:
    card = ModelCard.load(compiled_version)
    package = tmp_path / "package"
    compile_program(card.read(compiled_version, PROGRAM_NAME), package)
    assert check_parity(card, script, CompiledModule(package)) <= TOLERANCE * 10
    for sizes in ([1], [2], [1] * 9, [21, 1, 2], [5] * 33):
        graph = graph_of(sizes)
        assert_equal(evaluate(script, graph), evaluate(CompiledModule(package), graph))


def test_what_is_in_the_cache_is_not_built_again(compiled_version: Path, cache: Path) -> None:
    again = Build(compiled_version, cache, "cpu", 1).wait()
    assert again.cached


def test_building_ahead_says_what_it_did(
    compiled_version: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = compiled_version.parents[1]
    given = Settings(model_repository=repository, cache_dir=cache, torch_threads=1, device="cpu")
    assert compile_ahead(given, ["small"], clean=False) == 0
    assert "small version 1: compiled already" in capsys.readouterr().out
    assert compile_ahead(given, [], clean=False) == 1
    assert f"bare version 1: not compiled: a version without {PROGRAM_NAME}" in (
        capsys.readouterr().out
    )


def test_without_a_compiler_the_reason_is_told(
    compiled_version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(CompilationFailed, match="no C\\+\\+ compiler 'no-such-compiler'"):
        Build(compiled_version, tmp_path / "cache", "cpu", 1).wait()


def test_a_build_that_is_ended_leaves_nothing_behind(
    compiled_version: Path, tmp_path: Path
) -> None:
    build = Build(compiled_version, tmp_path / "cache", "cpu", 1)
    build.stop()
    with pytest.raises(CompilationFailed):
        build.wait()
    assert not list(tmp_path.rglob("*.pt2"))


def test_a_changed_program_is_not_compiled(tmp_path: Path) -> None:
    folder = write_random_version(tmp_path, compilable=False)
    card = ModelCard.load(folder)
    content = b"no program"
    (folder / PROGRAM_NAME).write_bytes(content)
    files = card.files | {PROGRAM_NAME: content_digest(content)}
    card.model_copy(update={"files": files}).save(folder)
    # Its digest is right, and what is in it still does not reach torch.
    with pytest.raises(CompilationFailed, match="a program with"):
        Build(folder, tmp_path / "cache", "cpu", 1).wait()
    (folder / PROGRAM_NAME).write_bytes(content + b" of ours")
    with pytest.raises(CompilationFailed, match="sha256"):
        Build(folder, tmp_path / "cache", "cpu", 1).wait()


@pytest.fixture
def stored(tmp_path: Path) -> tuple[PackageCache, Path]:
    """A cache with one package in it, and the package's file."""
    cache = PackageCache(tmp_path / "cache")
    with cache.building("key") as workshop:
        (workshop / "package.pt2").write_bytes(b"code")
        package = cache.store("key", workshop / "package.pt2")
    return cache, package.path


def test_a_package_is_found_under_its_key_alone(stored: tuple[PackageCache, Path]) -> None:
    cache, path = stored
    package = cache.find("key")
    assert package is not None
    assert package.path == path
    assert package.digest == content_digest(b"code")
    assert cache.find("another") is None
    assert [entry.name for entry in cache.folder.iterdir() if entry.is_dir()] == []


@pytest.mark.parametrize("content", [b"cod", b"other code", None])
def test_a_damaged_package_is_thrown_away(
    stored: tuple[PackageCache, Path], content: bytes | None
) -> None:
    cache, path = stored
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert cache.find("key") is None
    assert not path.exists()


@pytest.mark.parametrize("note", ["", "[]", "{}", "not JSON"])
def test_a_package_whose_digest_is_not_known_is_thrown_away(
    stored: tuple[PackageCache, Path], note: str
) -> None:
    cache, path = stored
    path.with_suffix(".json").write_text(note, encoding="utf-8")
    assert cache.find("key") is None
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o702])
def test_a_cache_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    PackageCache(tmp_path / "cache")
    (tmp_path / "cache").chmod(mode)
    with pytest.raises(CompilationFailed, match=f"mode {mode:o}"):
        PackageCache(tmp_path / "cache")


def test_a_cache_behind_a_link_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "cache"
    elsewhere.mkdir(mode=0o700)
    link.symlink_to(elsewhere)
    assert PackageCache(link).folder == elsewhere / "packages"
    elsewhere.chmod(0o755)
    with pytest.raises(CompilationFailed, match="mode 755"):
        PackageCache(link)
    elsewhere.chmod(0o700)
    (elsewhere / "packages").chmod(0o777)
    with pytest.raises(CompilationFailed, match="mode 777"):
        PackageCache(link)


def test_only_the_packages_used_last_are_kept(tmp_path: Path) -> None:
    cache = PackageCache(tmp_path)
    for number in range(20):
        with cache.building(str(number)) as workshop:
            (workshop / "package.pt2").write_bytes(b"code")
            cache.store(str(number), workshop / "package.pt2")
    assert len(list(cache.folder.glob("*.pt2"))) == 16
    assert cache.clean() == 16
    assert not list(cache.folder.glob("*.pt2"))


def test_the_key_of_a_package_holds_all_that_it_depends_on(
    compiled_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = ModelCard.load(compiled_version)
    keys = {PackageCache.key(card, "here"), PackageCache.key(card, "elsewhere")}
    for name in card.files:
        files = card.files | {name: content_digest(b"other")}
        keys.add(PackageCache.key(card.model_copy(update={"files": files}), "here"))
    assert len(keys) == 4
    ids = {build_id("cpu", 1), build_id("cpu", 2)}
    monkeypatch.setattr(build_id_module, "INDUCTOR_OPTIONS", {"max_autotune": True})
    ids.add(build_id("cpu", 1))
    monkeypatch.setattr(torch, "__version__", "0.0")
    ids.add(build_id("cpu", 1))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NONE")
    ids.add(build_id("cpu", 1))
    monkeypatch.setattr(build_id_module, "_cpu_flags", lambda: ["none"])
    ids.add(build_id("cpu", 1))
    assert len(ids) == 6


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert default_cache_dir() == Path("/caches/forcegate")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_cache_dir() == Path("/home/someone/.cache/forcegate")


def test_settings_of_the_allocator_that_a_user_made_stay() -> None:
    environment = keeping_memory({"MALLOC_TRIM_THRESHOLD_": "1", "PATH": "/bin"})
    assert environment["MALLOC_TRIM_THRESHOLD_"] == "1"
    assert environment["PATH"] == "/bin"
    assert int(environment["MALLOC_MMAP_THRESHOLD_"]) >= 2**30


def test_a_card_may_name_no_program(tmp_path: Path) -> None:
    folder = write_random_version(tmp_path, compilable=False)
    assert PROGRAM_NAME not in json.loads((folder / "model_card.json").read_text())["files"]
    with pytest.raises(CompilationFailed, match="export-program"):
        Build(folder, tmp_path / "cache", "cpu", 1).wait()
