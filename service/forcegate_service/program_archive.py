"""What may stand in the file of an exported program: tensors, and a graph of arithmetic.

``torch.export.load`` trusts its file. As read in torch 2.13.0 it runs what a file asks for in five
places: pickled payloads (``use_pickle``, and names it does not read as raw tensors), the example
inputs (unpickled without limits when the safe way fails), sizes (text that ``sympy`` evaluates),
guards (text that is compiled) and operators and tree types (looked up by name). A digest proves
where a file comes from, this gate that it is data, before ``torch.export.load`` sees it.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import torch

from forcegate_service.errors import ModelRefused

__all__ = ["require_plain"]

_ENTRIES = re.compile(
    r"data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|models/model\.json"
    r"|archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
)
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_GRAPH = "models/model.json"
_EXAMPLE = "data/sample_inputs/model.pt"
_PAYLOAD = re.compile(r"(weight|tensor)_\d+")
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.[a-zA-Z0-9_.]+|_operator\.(add|sub|mul|floordiv|mod|neg|eq|ne|lt|le|gt|ge)"
)
# What an argument of an operator may be: no objects, no functions, no graphs within the graph.
_ARGUMENT = re.compile(
    r"as_(none|name|expr|int|ints|float|floats|bool|bools|string|tensor|tensors|device|layout"
    r"|scalar_type|memory_format|sym_int|sym_ints|sym_float|sym_bool|optional_tensor"
    r"|optional_tensors)"
)
_FUNCTIONS = frozenset({"Symbol", "Integer", "Mul", "Add", "Pow", "Max", "Min", "Mod", "FloorDiv"})
_SYNTAX = (
    *(ast.Expression, ast.Constant, ast.Load, ast.Subscript, ast.keyword),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_TREE_TYPES = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict"})


def require_plain(program: bytes) -> None:
    """Look through the content of a ``.pt2`` program without running any of it.

    Raises:
        ModelRefused: if it holds more than tensors and arithmetic on them.
    """
    # The reader that will load it, so that both see the same entries.
    from torch.export.pt2_archive._package import PT2ArchiveReader

    try:
        with PT2ArchiveReader(io.BytesIO(program)) as archive:
            names = archive.get_file_names()
            for name in names:
                _require(_ENTRIES.fullmatch(name) is not None, f"the entry {name!r}")
            _require(len(set(names)) == len(names), "two entries of one name")
            for name in _CONFIGS:
                _check_payloads(json.loads(archive.read_bytes(name)))
            _check_graph(json.loads(archive.read_bytes(_GRAPH)))
            # Raises for whatever is not a plain tensor; torch.export.load tries this first.
            torch.load(io.BytesIO(archive.read_bytes(_EXAMPLE)), weights_only=True)
    except ModelRefused:
        raise
    except Exception as error:
        raise _refused(f"{type(error).__name__}: {error}") from error


def _check_payloads(config: dict[str, Any]) -> None:
    for name, payload in config["config"].items():
        plain = payload["use_pickle"] is False and _PAYLOAD.fullmatch(payload["path_name"])
        _require(bool(plain), f"the payload of {name!r}")


def _check_graph(content: dict[str, Any]) -> None:
    for guard in content.get("guards_code", []):
        _check_arithmetic(guard)
    for key, value in _fields(content):
        if key == "expr_str":
            _check_arithmetic(value)
        elif key == "target":
            _require(_OPERATOR.fullmatch(str(value)) is not None, f"the operator {value!r}")
        elif key.startswith("as_"):
            _require(_ARGUMENT.fullmatch(key) is not None, f"an argument {key!r}")
        elif key in ("in_spec", "out_spec"):
            for inner, item in _fields(json.loads(value)):
                if inner == "type":
                    _require(item in _TREE_TYPES, f"the tree type {item!r}")


def _check_arithmetic(text: str) -> None:
    """Sums, products and comparisons of sizes: nothing else can be called or reached."""
    for node in ast.walk(ast.parse(text, mode="eval")):
        match node:
            case ast.Call(func=ast.Name(id=name)):
                plain = name in _FUNCTIONS
            case ast.Call(func=ast.Attribute(attr="size", value=ast.Subscript())):
                plain = True
            case ast.Attribute(attr=name):
                plain = name == "size"
            case ast.Name(id=name):
                plain = name in _FUNCTIONS or re.fullmatch(r"L|[su]\d+", name) is not None
            case ast.Constant(value=str(name)):
                plain = name.isidentifier() and not name.startswith("_")
            case _:
                plain = isinstance(node, _SYNTAX)
        _require(plain, f"the expression {text!r}")


def _fields(content: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at every depth."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield key, value
            yield from _fields(value)
    elif isinstance(content, list):
        for value in content:
            yield from _fields(value)


def _require(plain: bool, what: str) -> None:
    if not plain:
        raise _refused(what)


def _refused(what: str) -> ModelRefused:
    return ModelRefused(
        f"a program with {what}",
        expected="tensors and a graph of tensor operations",
        action="export the model again",
    )
