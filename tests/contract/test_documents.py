"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from forcegate_client.errors import DocumentedError
from forcegate_client.messages import PROPERTIES
from forcegate_service import json_errors
from forcegate_service.json_form import PredictBody, StructureBody
from forcegate_service.settings import Settings

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "service" / "forcegate_service"
WIRE = ROOT / "clients" / "forcegate_client" / "wire.py"
CODE = re.compile(r'(?:code=|default_code = |_each\(\s*[^"]*?|_reject\(\s*[^"]*?)"([a-z_]+)"')
ROW = re.compile(r"^\| `(FORCEGATE_[A-Z_]+)` \| (?:`(--[a-z-]+)`)? ?\| (.+?) \|", re.MULTILINE)


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
    source = (SERVICE / "cli.py").read_text(encoding="utf-8")
    offered = set(re.findall(r'^        "([a-z_]+)": \1,$', source, re.MULTILINE))
    documented = {name for name, (option, _) in rows().items() if option}
    assert documented == {f"FORCEGATE_{name.upper()}" for name in offered}
    for name, (option, _) in rows().items():
        if option:
            assert option == "--" + name.removeprefix("FORCEGATE_").lower().replace("_", "-")


def codes() -> set[str]:
    files = [*SERVICE.rglob("*.py"), WIRE]
    found = {code for path in files for code in CODE.findall(path.read_text(encoding="utf-8"))}
    return found | {cls.default_code for cls in _tree(DocumentedError)} - {"error"}


def _tree(cls: type[DocumentedError]) -> list[type[DocumentedError]]:
    return [child for sub in cls.__subclasses__() for child in (sub, *_tree(sub))]


def test_every_error_code_is_documented() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    internal = {"compilation_failed", "model_refused", "runtime_fault"}
    found = codes()
    # The pattern must not have gone blind.
    assert {"element_unsupported", "cell_singular", "not_ready"} <= found
    assert {code for code in found - internal if f"`{code}`" not in text} == set()


def test_every_property_is_documented() -> None:
    text = (ROOT / "docs" / "wire-format.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in PROPERTIES)


def test_every_field_of_a_json_request_has_its_explanation() -> None:
    assert set(json_errors._REQUEST_FIELDS) == set(PredictBody.model_fields)
    assert set(json_errors._STRUCTURE_FIELDS) == set(StructureBody.model_fields)
