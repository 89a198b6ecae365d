"""Documents and layout hold: links, commands, versions, and the arrows between floors."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import yaml

from forcegate_trainer.cli.app import create_app

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "forcegate_client": ROOT / "clients" / "forcegate_client",
    "forcegate_engine": ROOT / "engine" / "forcegate_engine",
    "forcegate_models": ROOT / "models" / "forcegate_models",
    "forcegate_service": ROOT / "service" / "forcegate_service",
    "forcegate_trainer": ROOT / "trainer" / "forcegate_trainer",
}
# What each floor must not stand on: clients and engine are the ground, the trainer stands on all.
FORBIDDEN = {
    "forcegate_client": {"forcegate_service", "forcegate_trainer", "torch"},
    "forcegate_engine": {
        *("forcegate_client", "forcegate_models", "forcegate_service", "forcegate_trainer"),
        "torch",
    },
    "forcegate_models": {
        *("forcegate_client", "forcegate_engine", "forcegate_service", "forcegate_trainer"),
    },
    "forcegate_service": {"forcegate_trainer"},
}
MKDOCS = ROOT / "mkdocs.yml"
MOST_LINES = 400
# Longer files, each with the reason why it is one concept all the same.
LONG_FILES: dict[str, str] = {}
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        ROOT / "benchmarks" / "README.md",
        ROOT / "clients" / "README.md",
        ROOT / "engine" / "README.md",
        ROOT / "models" / "README.md",
        ROOT / "deploy" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
# Inline links and images; code is taken out before.
LINK = re.compile(r"\]\(([^()\s]+)\)")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def sources() -> Iterator[Path]:
    for folder in ("clients", "engine", "models", "service", "trainer", "tests", "benchmarks"):
        for kind in ("*.py", "*.h", "*.cpp"):
            yield from (ROOT / folder).rglob(kind)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    for target in LINK.findall(prose):
        path = target.partition("#")[0]
        if path and not re.match(r"[a-z]+:", path):
            assert (document.parent / path).exists(), target


def test_the_navigation_of_the_documents_names_them_all() -> None:
    listed = set(re.findall(r"^ +- [^:\n]+: (\S+\.md)$", MKDOCS.read_text("utf-8"), re.MULTILINE))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages - {"index.md"} <= listed


def test_the_design_fits_a_sitting_and_leads_to_every_decision() -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    assert len(design.encode()) <= 12_000
    pages = {f"decisions/{path.name}" for path in (ROOT / "docs" / "decisions").glob("*.md")}
    assert len(pages) > 5
    assert pages <= set(LINK.findall(design))


def test_each_defence_of_the_threat_model_is_held_by_tests_that_exist() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| (`[\w/]+/test_.*`) \|$", text, re.MULTILINE)
    held = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert len(rows) > 20
    # Every table with the column has nothing but such rows.
    tables = re.findall(r"^\| does \|.*\n\|---\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert len(rows) == sum(table.count("\n") for table in tables)
    for name in held:
        file, _, test = name.partition("::")
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"^(?:async )?def {test or 'test_'}", source, re.MULTILINE), name


def test_no_file_is_longer_than_one_concept() -> None:
    found = {
        name_of(path)
        for path in sources()
        if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    }
    assert found == set(LONG_FILES)


def imported(path: Path) -> set[str]:
    """The packages that a file names in imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_arrow_runs_back_up(package: str) -> None:
    files = list(PACKAGES[package].rglob("*.py"))
    assert files
    for path in files:
        assert imported(path) & FORBIDDEN[package] == set(), name_of(path)


def test_one_room_of_the_client_needs_the_engine() -> None:
    package = PACKAGES["forcegate_client"]
    extra = {"forcegate_engine", "forcegate_models"}
    users = {path.parent for path in package.rglob("*.py") if imported(path) & extra}
    assert users == {package / "local"}


def test_one_module_of_the_engine_needs_ase() -> None:
    package = PACKAGES["forcegate_engine"]
    assert [path.name for path in package.rglob("*.py") if "ase" in imported(path)] == ["ase.py"]


WALK = """
import importlib, pkgutil, sys, forcegate_client
for module in pkgutil.walk_packages(forcegate_client.__path__, "forcegate_client."):
    importlib.import_module(module.name)
"""


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(WALK, id="every module of the client"),
        pytest.param("import sys, forcegate_service.api.app", id="the gateway's application"),
        pytest.param("import sys, forcegate_service.cli", id="the server's command line"),
        pytest.param("import sys, forcegate_trainer.cli.app", id="the trainer's command line"),
    ],
)
def test_importing_does_not_load_torch(statement: str) -> None:
    code = f"{statement}\nprint('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def trainer_commands() -> list[list[str]]:
    commands = []
    for document in DOCUMENTS:
        for block in re.findall(r"```bash\n(.*?)```", document.read_text(encoding="utf-8"), re.S):
            commands += trainer_commands_of(block)
    for recipe_of_data in sorted((ROOT / "datasets").glob("*.sh")):
        commands += trainer_commands_of(recipe_of_data.read_text(encoding="utf-8"))
    return commands


def trainer_commands_of(script: str) -> list[list[str]]:
    lines = script.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if "forcegate-train" in line]
    return [words[1:] for words in commands if words[:1] == ["forcegate-train"]]


@pytest.mark.parametrize("words", trainer_commands(), ids=" ".join)
def test_documented_commands_of_the_trainer_are_understood(words: list[str]) -> None:
    command = typer.main.get_command(create_app())
    # Some commands, such as `teacher`, have commands of their own.
    while inner := getattr(command, "commands", None):
        name, *words = words
        command = inner[name]
    with command.make_context(name, words) as context:
        assert context.params


def test_the_recipe_of_the_data_names_every_step() -> None:
    steps = {words[0] for words in trainer_commands()}
    assert {"molecules", "sample", "label", "fit", "export", "validate"} <= steps


def project(folder: Path) -> dict[str, str]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_all_distributions_and_the_changelog_agree_on_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)[0]
    for folder in (ROOT, ROOT / "clients", ROOT / "engine"):
        assert project(folder)["version"] == newest, folder


def test_the_license_is_the_one_that_the_packages_declare() -> None:
    first = (ROOT / "LICENSE").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"{project(ROOT)['license']} License"
    for name in ("clients", "engine"):
        assert project(ROOT / name)["license"] == project(ROOT)["license"]


def recipe(target: str) -> list[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    body = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[0]
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in body.splitlines()]


def test_the_hooks_before_a_commit_are_the_checks_of_the_makefile() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (repository,) = yaml.safe_load(text)["repos"]
    assert repository["repo"] == "local"
    entries = [hook["entry"] for hook in repository["hooks"]]
    assert entries == [*recipe("lint"), *recipe("typing")]
