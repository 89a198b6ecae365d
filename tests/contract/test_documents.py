"""The documents say what the code does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import forcegate_client.dataset.errors

# So that their errors are known.
import forcegate_client.md.blow_up
import forcegate_client.screening.errors  # noqa: F401
from forcegate_client.errors import DocumentedError, ForcegateError
from forcegate_client.messages import PROPERTIES
from forcegate_service.predict import json_errors
from forcegate_service.predict.json_request import PredictBody, StructureBody
from forcegate_service.settings import Settings

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "service" / "forcegate_service"
CLIENT = ROOT / "clients" / "forcegate_client"
# A gateway looks at structures as its clients do, and says what they say.
CHECKS = [
    CLIENT / "wire" / "codec.py",
    CLIENT / "local" / "survey.py",
    *(CLIENT / "checks").rglob("*.py"),
]
CODE = re.compile(r'(?:code=|default_code = |_each\(\s*[^"]*?|_reject\(\s*[^"]*?)"([a-z_]+)"')
ROW = re.compile(r"^\| `(FORCEGATE_[A-Z_]+)` \| (?:`(--[a-z-]+)`)? ?\| (.+?) \|", re.MULTILINE)

# What stands in results, by the place of its code among the arguments.
FAILURES = {"RecordInvalid": 0, "Problem": 0}


def rows() -> dict[str, tuple[str, str]]:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    return {name: (option, default) for name, option, default in ROW.findall(text)}


def test_every_setting_is_documented_and_no_other() -> None:
    assert set(rows()) == {f"FORCEGATE_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_documented_default_is_the_default(name: str) -> None:
    _, documented = rows()[f"FORCEGATE_{name.upper()}"]
    default = Settings.model_fields[name].default
    if name == "torch_threads":
        assert documented == "cores − 1, at least 1"
    elif name == "inference_awake_s":
        assert documented == "0.003; 0 on a single core"
    elif name == "cache_dir":
        assert documented == "`forcegate` in the user's cache folder"
    elif default is None:
        assert documented == "none"
    else:
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        assert documented == f"`{shown}`"


def test_every_option_is_the_setting_of_its_row() -> None:
    source = (SERVICE / "cli" / "app.py").read_text(encoding="utf-8")
    offered = set(re.findall(r'^        "([a-z_]+)": \1,$', source, re.MULTILINE))
    documented = {name for name, (option, _) in rows().items() if option}
    assert documented == {f"FORCEGATE_{name.upper()}" for name in offered}
    for name, (option, _) in rows().items():
        if option:
            assert option == "--" + name.removeprefix("FORCEGATE_").lower().replace("_", "-")


def codes() -> set[str]:
    files = [*SERVICE.rglob("*.py"), *CHECKS]
    found = {code for path in files for code in CODE.findall(path.read_text(encoding="utf-8"))}
    return found | {cls.default_code for cls in _tree(DocumentedError)} - {"error"}


def _tree(cls: type[ForcegateError]) -> list[type[ForcegateError]]:
    return [child for sub in cls.__subclasses__() for child in (sub, *_tree(sub))]


def test_every_error_code_is_documented() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    internal = {"model_refused", "runtime_fault"}
    found = codes()
    # The pattern must not have gone blind.
    assert {"element_unsupported", "cell_singular", "not_ready"} <= found
    assert {code for code in found - internal if f"`{code}`" not in text} == set()


# Both sides read messages, and a server for tests says what a real one would.
NOT_ITS_OWN = {
    *("wire/codec.py", "wire/fields.py", "wire/bounded_map.py", "wire/structures.py"),
    *("wire/run_request.py", "testing.py"),
}


def client_codes() -> set[str]:
    """The codes that the client's package gives to errors of its own."""
    found = set()
    for path in CLIENT.rglob("*.py"):
        if path.relative_to(CLIENT).as_posix() in NOT_ITS_OWN:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found |= set(_codes_of(node))
    served = {cls.default_code for cls in (DocumentedError, *_tree(DocumentedError))}
    return found - served


def _codes_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        places = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if called in FAILURES:
            places += node.args[FAILURES[called] :][:1]
    elif isinstance(node, ast.AnnAssign | ast.Assign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        named = any(isinstance(name, ast.Name) and name.id == "default_code" for name in targets)
        places = [node.value] if named and node.value is not None else []
    else:
        places = []
    for place in places:
        for part in ast.walk(place):
            # The name of a field has one word.
            if isinstance(part, ast.Constant) and "_" in str(part.value):
                yield str(part.value)


def test_the_client_s_own_codes_are_documented_and_no_other() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    section = text.partition("\n## What the client says itself\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = [code for row in rows for code in re.findall(r"`([a-z0-9_]+)`", row)]
    assert len(documented) == len(set(documented))
    # No blind pattern: a keyword, a class, a choice between two, and what stands in results.
    seen = {"constraint_unsupported", "digest_changed", "relaxation_exploded", "smiles_invalid"}
    assert seen <= client_codes()
    # What is checked here as on a server has one code, which may stand among the server's alone.
    served = set(re.findall(r"^\| \d{3}[^|]*\| `([a-z0-9_]+)`", text, re.MULTILINE))
    assert {"atoms_too_close", "charge_mismatch"} <= served
    assert client_codes() - served <= set(documented) <= client_codes()


def test_the_classes_of_the_client_s_own_codes_are_those_that_are_named() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    section = text.partition("\n## What the client says itself\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \| `(\w+)`.* \| ", section, re.MULTILINE)
    defined = {cls.__name__: cls for cls in (ForcegateError, *_tree(ForcegateError))}
    of_code = {cls.default_code: name for name, cls in defined.items()}
    assert len(rows) > 10
    for codes_of_row, name in rows:
        for code in re.findall(r"`([a-z0-9_]+)`", codes_of_row):
            if code in of_code:
                assert issubclass(defined[of_code[code]], defined[name]), code


def test_every_property_is_documented() -> None:
    text = (ROOT / "docs" / "wire-format.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in PROPERTIES)


def test_every_field_of_a_json_request_has_its_explanation() -> None:
    assert set(json_errors._REQUEST_FIELDS) == set(PredictBody.model_fields)
    assert set(json_errors.STRUCTURE_FIELDS) == set(StructureBody.model_fields)
