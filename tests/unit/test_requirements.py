"""What is installed is pinned by version and hash, for images apart from what tests need."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
# The extra that each file is made from, and what it leaves to whoever chooses the build of torch.
EXTRAS = {"gateway": "triton", "gateway-embedded": "embedded", "trainer": "trainer", "dev": "dev"}
IMAGES = [name for name in EXTRAS if name != "dev"]
OWN = {"forcegate": ROOT, "forcegate-client": ROOT / "clients"} | {
    f"forcegate-{name}": ROOT / name for name in ("engine", "models")
}
WITHOUT_HASH = {"torch"}
# Reading and testing, not serving.
OF_TESTS = {"pytest", "ruff", "mypy", "hypothesis", "mkdocs", "ipykernel", "uv", "pip-audit"}


@cache
def chosen() -> dict[str, str]:
    """The version of each package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(name): version for name, version in pairs}


@cache
def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package in a file of requirements."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    found = {}
    for entry in re.sub(r"\\\n\s*", " ", text).splitlines():
        if entry and not entry.startswith("#"):
            package, version = re.findall(r"^([\w.-]+)==([^\s;]+)", entry)[0]
            found[canonicalize_name(package)] = (version, re.findall(r"--hash=(\S+)", entry))
    return found


@pytest.mark.parametrize("name", EXTRAS)
def test_versions_are_those_of_the_constraints_and_hashes_are_there(name: str) -> None:
    assert locked(name)
    for package, (version, hashes) in locked(name).items():
        assert chosen()[package] == version
        assert hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes)


def test_every_constraint_is_installed_by_somebody() -> None:
    everything = set.union(*(set(locked(name)) for name in EXTRAS)) | WITHOUT_HASH
    assert set(chosen()) == everything


def needed(requirement: Requirement) -> Iterator[Requirement]:
    """What it needs here, its extras included; of this checkout and of what is installed."""
    if requirement.name in OWN:
        yield from of_this_checkout(OWN[requirement.name], requirement.extras)
        return
    environments = [{"extra": extra} for extra in requirement.extras or {""}]
    for line in requires(requirement.name) or []:
        other = Requirement(line)
        if other.marker is None or any(other.marker.evaluate(each) for each in environments):
            yield other


def of_this_checkout(folder: Path, extras: set[str]) -> Iterator[Requirement]:
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    yield from map(Requirement, lines)


def closure(extra: str) -> set[str]:
    """All packages that an installation of the extra has on this machine."""
    waiting = [Requirement(f"forcegate[{extra}]"), Requirement("hatchling")]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key not in seen:
            seen.add(key)
            waiting += needed(requirement)
    return {name for name, _ in seen} - set(OWN)


@pytest.mark.parametrize(("name", "extra"), EXTRAS.items())
def test_a_file_names_all_that_its_extra_needs(name: str, extra: str) -> None:
    """Fails after a change of dependencies: pin them in constraints.txt, then `make lock`."""
    assert closure(extra) - WITHOUT_HASH <= set(locked(name))


@pytest.mark.parametrize("name", IMAGES)
def test_images_hold_nothing_of_the_tests(name: str) -> None:
    assert set(locked(name)) & OF_TESTS == set()
    assert set(locked("dev")) >= OF_TESTS


def test_no_file_brings_a_build_of_torch() -> None:
    for name in EXTRAS:
        brought = [each for each in locked(name) if re.match(r"torch$|nvidia-|cuda-|triton$", each)]
        assert brought == []


def make(*words: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make with the environment that runs these tests, and without installing it anew."""
    made = [word for file in (".installed", ".engine") for word in ("--old-file", f".venv/{file}")]
    command = ["make", *made, f"BIN={Path(sys.executable).parent}"]
    return subprocess.run(
        [*command, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | environment,
        timeout=120,
    )


def test_the_bill_of_materials_of_an_image_is_what_it_installs(tmp_path: Path) -> None:
    for file in ("Makefile", "pyproject.toml", "constraints.txt", "README.md"):
        shutil.copy(ROOT / file, tmp_path / file)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    done = make("sbom-of-gateway-embedded", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "sbom" / "gateway-embedded.cdx.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert document["bomFormat"] == "CycloneDX"
    found = {canonicalize_name(each["name"]): each["version"] for each in document["components"]}
    pins = {package: version for package, (version, _) in locked("gateway-embedded").items()}
    assert found == pins | {"torch": chosen()["torch"]}


def test_an_audit_that_cannot_ask_fails_and_says_so() -> None:
    # Nobody listens on the discard port: what cannot be looked up must not read as harmless.
    done = make("audit", HTTPS_PROXY="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9")
    assert done.returncode != 0
    assert "No known vulnerabilities" not in done.stdout + done.stderr
    assert "ConnectionError" in done.stderr or "ProxyError" in done.stderr
