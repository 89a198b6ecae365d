"""The rooms of a package stand in the order that it lists, and know each other in one direction."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Packages whose docstring lists what is in them in the order in which work meets it, and says in
# which direction they know each other.
PACKAGES = [
    pytest.param(ROOT / "clients" / "forcegate_client", id="clients"),
    pytest.param(ROOT / "service" / "forcegate_service", id="service"),
    pytest.param(ROOT / "trainer" / "forcegate_trainer", id="trainer"),
    pytest.param(ROOT / "benchmarks" / "forcegate_bench", id="benchmarks"),
]


def listed(package: Path) -> list[str]:
    """Rooms and single files, from the ground up."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    assert text is not None
    names = re.findall(r"^ {4}(\w+)(?:/|\.py) ", text, re.MULTILINE)
    return names[::-1] if "imports those below it" in text else names


def modules(package: Path) -> dict[str, Path]:
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def known_by(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found & set(known)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_lists_all_its_rooms(package: Path) -> None:
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    files = {path.stem for path in package.glob("*.py")}
    assert folders == set(listed(package)) - files
    assert len(listed(package)) == len(set(listed(package)))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_room_knows_those_before_it_alone(package: Path) -> None:
    order, known = listed(package), modules(package)
    for name, path in known.items():
        room = ".".join(name.split(".")[1:2])
        # What is not listed stands beside the rooms: all of them know it, and it knows none; but
        # for what people import and start by the package's own name.
        place = order.index(room) if room in order else -1
        place = len(order) if room in ("", "__main__") else place
        for other in known_by(path, known):
            there = ".".join(other.split(".")[1:2])
            reached = order.index(there) if there in order else -1
            assert reached <= place, f"{name} imports {other}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_two_parts_of_a_room_know_each_other(package: Path) -> None:
    known = modules(package)
    for room in listed(package):
        inside = {name: path for name, path in known.items() if name.split(".")[1:2] == [room]}
        # A part is a file of the room, or a folder in it.
        graph: dict[str, set[str]] = {}
        for name, path in inside.items():
            part = ".".join(name.split(".")[:3])
            others = {".".join(other.split(".")[:3]) for other in known_by(path, inside)}
            graph.setdefault(part, set()).update(others - {part})
        assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("package", PACKAGES)
def test_no_two_files_import_each_other_by_whatever_way(package: Path) -> None:
    known = modules(package)
    graph = {name: known_by(path, known) - {name} for name, path in known.items()}
    # Raises CycleError, which names the circle.
    assert len(list(TopologicalSorter(graph).static_order())) == len(known)
