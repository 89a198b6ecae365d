"""The one command of the benchmarks: what documents and the Makefile call is what it knows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from forcegate_bench.__main__ import app

ROOT = Path(__file__).parents[3]
README = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "Makefile", ROOT / "README.md", ROOT / "benchmarks" / "README.md"]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def calls() -> set[str]:
    """All that follow the command's name, in code of the documents and in recipes."""
    found: set[str] = set()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        found |= set(re.findall(r"forcegate-bench ([a-z][^`#\n]*)", text))
    return {call.strip() for call in found}


@pytest.mark.parametrize("call", sorted(calls()))
def test_what_documents_call_is_understood(call: str) -> None:
    name, *words = shlex.split(call)
    assert name in COMMANDS
    # Prose names a command without what it is given.
    if words:
        with COMMANDS[name].make_context(name, words) as context:
            assert context.params


def test_the_table_of_the_readme_names_every_command() -> None:
    table = README[README.index("| command |") : README.index("```bash")]
    assert set(re.findall(r"`forcegate-bench ([\w-]+)`", table)) == set(COMMANDS)


def test_options_of_all_gateway_benchmarks_are_the_same() -> None:
    shared = {"model_repository", "fake", "core", "other_core", "out"}
    for name in ("load", "overhead", "fairness", "overload", "soak", "screening", "triton"):
        assert shared <= {option.name for option in COMMANDS[name].params}, name
