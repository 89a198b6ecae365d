"""What lies beside a model for Triton, and the module that Triton's Python backend runs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import (
    TYPE_FP64,
    TYPE_INT64,
    ModelConfig,
    ModelInstanceGroup,
)

import forcegate_service.runtimes.triton
from forcegate_client.structures import StructureBatch
from forcegate_service.cli import main
from forcegate_service.contract.card import MODEL_NAME, ModelCard
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.reference import reference_graph
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.runtimes.triton.interface import input_tensors, output_tensors
from forcegate_service.runtimes.triton.repository import triton_files, update_triton_files
from support.models import REPOSITORY

INPUTS, OUTPUTS = input_tensors(1), output_tensors(1)

MODULE = files(forcegate_service.runtimes.triton).joinpath("python_model.py").read_bytes()
CONFIGS = ("config.pbtxt", "configs/python.pbtxt")
TYPES = {"INT64": TYPE_INT64, "FP64": TYPE_FP64}
DTYPES = {"INT64": np.int64, "FP64": np.float64}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A toy with versions 2 and 10."""
    for version in ("2", "10"):
        write_fake_model(tmp_path, version=version)
    return tmp_path / "fake"


def parsed(content: bytes) -> ModelConfig:
    return text_format.Parse(content.decode(), ModelConfig())


def test_all_that_triton_needs_is_written(model: Path) -> None:
    wanted = {*CONFIGS, *(f"warmup/{tensor.name}" for tensor in INPUTS)}
    assert set(triton_files(model)) == wanted
    modules = {"2/model.py", "10/model.py"}
    assert set(triton_files(model, python_backend=True)) == wanted | modules


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_describes_the_interface(model: Path, name: str) -> None:
    config = parsed(triton_files(model)[name])
    assert config.name == "fake"
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    for received, expected in ((config.input, INPUTS), (config.output, OUTPUTS)):
        assert [(one.name, one.data_type, tuple(one.dims)) for one in received] == [
            (tensor.name, TYPES[tensor.kind], tensor.dims) for tensor in expected
        ]
    # By default Triton serves only the newest one.
    assert config.version_policy.WhichOneof("policy_choice") == "all"


@pytest.mark.parametrize(
    ("name", "platform", "backend", "kind"),
    [
        ("config.pbtxt", "pytorch_libtorch", "", ModelInstanceGroup.KIND_AUTO),
        ("configs/python.pbtxt", "", "python", ModelInstanceGroup.KIND_CPU),
    ],
)
def test_each_configuration_is_for_one_backend(
    model: Path, name: str, platform: str, backend: str, kind: int
) -> None:
    config = parsed(triton_files(model)[name])
    assert (config.platform, config.backend) == (platform, backend)
    assert [(group.count, group.kind) for group in config.instance_group] == [(1, kind)]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_version_is_warmed_up_on_the_reference_structure_of_the_newest(
    model: Path, name: str
) -> None:
    newest = ModelCard.load(model / "10")
    structure = newest.reference.model_dump() | {"positions": [(0, 0, 0), (1.1, 0, 0), (0, 1, 0)]}
    newest.model_validate(newest.model_dump() | {"reference": structure}).save(model / "10")
    graph = reference_graph(ModelCard.load(model / "10"))
    found = triton_files(model)
    (warm_up,) = parsed(found[name]).model_warmup
    assert warm_up.count > 0
    assert set(warm_up.inputs) == {tensor.name for tensor in INPUTS}
    for tensor in INPUTS:
        given = warm_up.inputs[tensor.name]
        content = found[f"warmup/{given.input_data_file}"]
        array = np.frombuffer(content, DTYPES[tensor.kind]).reshape(given.dims)
        assert given.data_type == TYPES[tensor.kind]
        assert np.array_equal(array, getattr(graph, tensor.name))


def test_each_version_has_the_module_byte_for_byte(model: Path) -> None:
    found = triton_files(model, python_backend=True)
    assert found["2/model.py"] == found["10/model.py"] == MODULE


def test_a_version_whose_files_were_changed_gets_nothing_written(model: Path) -> None:
    (model / "10" / MODEL_NAME).write_bytes(b"something else")
    with pytest.raises(ModelRefused, match="restore the exported file"):
        update_triton_files([model], write=True)
    assert not (model / CONFIGS[0]).exists()


def test_the_committed_files_are_those_that_would_be_written() -> None:
    models = sorted({path.parents[1] for path in REPOSITORY.glob("*/*/model_card.json")})
    assert models
    assert update_triton_files(models, write=False) == []


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    """The exit status of ``forcegate-serve triton-repository``."""
    monkeypatch.setattr(sys, "argv", ["forcegate-serve", "triton-repository", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code


@pytest.mark.parametrize("name", [*CONFIGS, "2/model.py", "warmup/positions"])
def test_the_command_writes_what_is_missing_and_names_what_differs(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    there = ("--model-repository", model.parent, "--python-backend")
    assert command(monkeypatch, *there, "--check") == 1
    assert f"differs: {model / name}\n" in capsys.readouterr().out
    assert not (model / name).exists()
    assert command(monkeypatch, *there) == 0
    assert f"written: {model / name}\n" in capsys.readouterr().out
    assert command(monkeypatch, *there, "--check") == 0
    assert capsys.readouterr().out == ""
    wanted = (model / name).read_bytes()
    (model / name).write_bytes(wanted + b"\n")
    assert command(monkeypatch, *there, "--check") == 1
    assert capsys.readouterr().out == f"differs: {model / name}\n"
    assert command(monkeypatch, *there) == 0
    assert (model / name).read_bytes() == wanted


def test_the_command_says_what_is_wrong_with_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "--model-repository", tmp_path / "nowhere") == 1
    assert "no such folder" in capsys.readouterr().err


class _Tensor:
    """Of Triton's Python backend: something with a name that gives and takes DLPack."""

    def __init__(self, name: str, values: torch.Tensor) -> None:
        self.name, self.values = name, values

    def to_dlpack(self) -> Any:
        return torch.utils.dlpack.to_dlpack(self.values)

    @classmethod
    def from_dlpack(cls, name: str, given: Any) -> _Tensor:
        values = torch.utils.dlpack.from_dlpack(given)
        # Triton copies the memory as it lies there.
        assert values.is_contiguous()
        return cls(name, values)


class _Response:
    def __init__(self, output_tensors: list[_Tensor] | None = None, error: Any = None) -> None:
        self.tensors = {tensor.name: tensor.values for tensor in output_tensors or []}
        self.error = error


def _input_of(request: dict[str, torch.Tensor], name: str) -> _Tensor:
    return _Tensor(name, request[name])


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What Triton's Python backend offers, as far as it is used."""
    module = ModuleType("triton_python_backend_utils")
    members: dict[str, Any] = {
        "Tensor": _Tensor,
        "InferenceResponse": _Response,
        "TritonError": type("TritonError", (Exception,), {}),
        "TritonModelException": type("TritonModelException", (Exception,), {}),
        "get_input_tensor_by_name": _input_of,
    }
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


class Springs(torch.nn.Module):
    """Takes and gives what an exported model does; fails on elements that it has no number for."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = torch.nn.Embedding.from_pretrained(torch.arange(10.0).reshape(-1, 1))

    def forward(
        self,
        positions: torch.Tensor,
        atomic_numbers: torch.Tensor,
        edge_index: torch.Tensor,
        edge_shift: torch.Tensor,
        structure_index: torch.Tensor,
        n_atoms: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        weights = self.numbers(atomic_numbers).squeeze(1).double()
        blank = torch.zeros(n_atoms.shape[0], dtype=positions.dtype)
        energy = blank.index_add(0, structure_index, weights * (positions * positions).sum(1))
        forces = -2.0 * (weights * positions.t()).t()
        virial = blank.reshape(-1, 1, 1).expand(-1, 3, 3)
        # As columns of one array, which do not lie one after another in memory.
        columns = torch.stack([energy, 2.0 * energy], dim=1)
        return energy, forces, virial, columns[:, 1], weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Version 1 of the springs as Triton finds it: module, model file and card."""
    folder = tmp_path / "springs" / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_bytes(MODULE)
    torch.jit.script(Springs().eval()).save(str(folder / MODEL_NAME))
    digest = hashlib.sha256((folder / MODEL_NAME).read_bytes()).hexdigest()
    card = {"files": {MODEL_NAME: f"sha256:{digest}"}}
    (folder / "model_card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def module(backend: ModuleType, folder: Path) -> ModuleType:
    """The ``model.py`` of the folder, imported as Triton does it."""
    spec = importlib.util.spec_from_file_location("model", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def load(module: ModuleType, folder: Path) -> Callable[[], Any]:
    """Make a model and initialize it."""

    def loaded() -> Any:
        model = module.TritonPythonModel()
        model.initialize({"model_repository": str(folder.parent), "model_version": "1"})
        return model

    return loaded


def request_of(*numbers: int) -> dict[str, torch.Tensor]:
    """One structure with these atoms."""
    batch = StructureBatch.from_arrays(
        n_atoms=[len(numbers)],
        atomic_numbers=numbers,
        positions=np.arange(3.0 * len(numbers)).reshape(-1, 3),
    )
    arrays = build_graph(batch, 5.0).arrays()
    pairs = zip(INPUTS, arrays, strict=True)
    return {tensor.name: torch.from_numpy(np.ascontiguousarray(array)) for tensor, array in pairs}


def test_the_module_names_the_tensors_as_the_gateway_does(module: ModuleType) -> None:
    assert tuple(tensor.name for tensor in INPUTS) == module.INPUTS
    assert tuple(tensor.name for tensor in OUTPUTS) == module.OUTPUTS


def test_requests_are_answered_each_by_itself_with_every_output_under_its_name(
    load: Callable[[], Any],
) -> None:
    requests = [request_of(1, 8), request_of(6, 7, 9)]
    for request, response in zip(requests, load().execute(requests), strict=True):
        assert response.error is None
        expected = Springs()(*(request[tensor.name] for tensor in INPUTS))
        assert list(response.tensors) == [tensor.name for tensor in OUTPUTS]
        for tensor, values in zip(OUTPUTS, expected, strict=True):
            received = response.tensors[tensor.name]
            assert received.dtype == torch.float64
            assert received.dim() == len(tensor.dims)
            torch.testing.assert_close(received, values, rtol=0, atol=0)


def test_a_request_on_which_the_model_fails_is_an_error_of_its_own(
    load: Callable[[], Any], backend: ModuleType
) -> None:
    good, bad, last = load().execute([request_of(1, 8), request_of(1, 92), request_of(6)])
    assert isinstance(bad.error, backend.TritonError)
    assert "the model failed" in str(bad.error)
    assert "index out of range" in str(bad.error)
    assert not bad.tensors
    for one in (good, last):
        assert one.error is None
        assert len(one.tensors) == len(OUTPUTS)


def test_a_model_file_that_was_changed_is_not_loaded(
    load: Callable[[], Any], backend: ModuleType, folder: Path
) -> None:
    load()
    # One that torch would take.
    other = Springs()
    other.numbers.weight.mul_(1.5)
    torch.jit.script(other.eval()).save(str(folder / MODEL_NAME))
    with pytest.raises(backend.TritonModelException, match=r"expected sha256:.*restore the"):
        load()
