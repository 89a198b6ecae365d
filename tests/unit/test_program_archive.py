"""A program's file is data: whatever else stands in it is refused before torch reads it."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from forcegate_service.errors import ModelRefused
from forcegate_service.program import export_program
from forcegate_service.program_archive import require_plain
from support.versions import random_small_potential

GRAPH = "archive/models/model.json"
WEIGHTS = "archive/data/weights/model_weights_config.json"
EXAMPLE = "archive/data/sample_inputs/model.pt"


class Trap:
    """Creates the file ``sprung`` when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sprung"

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.fixture(scope="module")
def program() -> bytes:
    return export_program(random_small_potential())


def rewritten(program: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    """``program`` with one entry changed, or added."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(program)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.namelist():
            content = old.read(entry)
            new.writestr(entry, change(content) if entry == name else content)
        if name not in old.namelist():
            new.writestr(name, change(b""))
    return buffer.getvalue()


def in_json(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return changed


def first_node(document: Any) -> Any:
    return document["graph_module"]["graph"]["nodes"][0]


def first_size(document: Any) -> Any:
    values = document["graph_module"]["graph"]["tensor_values"]
    sizes = [size for value in values.values() for size in value["sizes"] if "as_expr" in size]
    return sizes[0]["as_expr"]


def test_what_the_trainer_exports_is_plain_and_names_no_file_of_the_machine(
    program: bytes,
) -> None:
    require_plain(program)
    require_plain(rewritten(program, GRAPH, in_json(lambda document: None)))
    assert str(Path(__file__).parents[2]).encode() not in program
    assert b".py" not in program


def test_a_pickle_among_the_weights_is_refused(program: bytes, tmp_path: Path) -> None:
    def ask_for_a_pickle(document: Any) -> None:
        next(iter(document["config"].values()))["use_pickle"] = True

    with pytest.raises(ModelRefused, match="payload"):
        require_plain(rewritten(program, WEIGHTS, in_json(ask_for_a_pickle)))


def test_a_pickle_among_the_example_inputs_is_refused_and_not_opened(
    program: bytes, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    torch.save(Trap(tmp_path), buffer)
    for content in (buffer.getvalue(), pickle.dumps(Trap(tmp_path))):
        with pytest.raises(ModelRefused):
            require_plain(rewritten(program, EXAMPLE, lambda old, new=content: new))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "name", ["archive/data/weights/model.pt", "archive/data/constants/opaque_obj_0", "archive/x"]
)
def test_entries_that_are_not_known_are_refused(program: bytes, name: str) -> None:
    with pytest.raises(ModelRefused, match="entry"):
        require_plain(rewritten(program, name, lambda old: b"anything"))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "Symbol.__class__",
        "(lambda: 0)()",
        "Symbol('s1', positive=True) if exit() else 0",
        "[s1 for s1 in open('x')]",
        "L['x'].size.__globals__['os']",
        "getattr(Symbol, 'mro')",
    ],
)
def test_text_that_torch_would_evaluate_must_be_arithmetic(program: bytes, text: str) -> None:
    def in_a_size(document: Any) -> None:
        first_size(document)["expr_str"] = text

    def in_a_guard(document: Any) -> None:
        document["guards_code"].append(text)

    for change in (in_a_size, in_a_guard):
        with pytest.raises(ModelRefused):
            require_plain(rewritten(program, GRAPH, in_json(change)))


@pytest.mark.parametrize("text", ["Symbol('s1', integer=True)", "2*s1 + Max(1, s2)", "s1 >= 0"])
def test_arithmetic_of_sizes_is_plain(program: bytes, text: str) -> None:
    def in_a_size(document: Any) -> None:
        first_size(document)["expr_str"] = text

    require_plain(rewritten(program, GRAPH, in_json(in_a_size)))


@pytest.mark.parametrize("target", ["torch.load", "torch.os.system", "#ext:op", "math.pow"])
def test_operators_are_those_of_tensors(program: bytes, target: str) -> None:
    def call_it(document: Any) -> None:
        first_node(document)["target"] = target

    with pytest.raises(ModelRefused, match="operator"):
        require_plain(rewritten(program, GRAPH, in_json(call_it)))


def test_a_file_that_is_no_archive_is_refused() -> None:
    with pytest.raises(ModelRefused):
        require_plain(b"not an archive")
