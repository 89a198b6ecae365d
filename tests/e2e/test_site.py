"""The documentation site: it builds without a warning, says what the code says, loads nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from forcegate_client.cli.app import app as client_app
from forcegate_client.dataset import Source
from forcegate_client.errors import ForcegateError
from forcegate_docs.gateway import openapi_document
from forcegate_service.cli import create_cli
from forcegate_trainer.cli.app import create_app
from support.browser import browser
from support.readme import ROOT

APPS = {
    "forcegate": client_app,
    "forcegate-serve": create_cli(),
    "forcegate-train": create_app(),
}
# Attributes of elements by which a browser loads something without being asked.
LOADS = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}


class Loads(HTMLParser):
    """What a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") in ("canonical", "prev", "next"):
            return
        if tag in LOADS and given.get(LOADS[tag]):
            self.found.append(str(given[LOADS[tag]]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it; a warning fails the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "mkdocs build --strict" in (ROOT / "Makefile").read_text(encoding="utf-8")
    return folder


def page(site: Path, name: str) -> str:
    return (site / name).read_text(encoding="utf-8")


def commands(words: list[str], command: Any) -> list[tuple[str, Any]]:
    below = getattr(command, "commands", {}).items()
    found = [one for name, sub in below for one in commands([*words, name], sub)]
    return [(" ".join(words), command), *found]


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    loaded = 0
    for path in pages:
        reader = Loads()
        reader.feed(path.read_text(encoding="utf-8"))
        loaded += len(reader.found)
        for target in reader.found:
            assert not re.match(r"(?:[a-z]+:)?//", target), (path.name, target)
            file = path.parent / target.partition("?")[0].partition("#")[0]
            # The page for what is not found may be shown at any address.
            assert path.name == "404.html" or file.exists(), (path.name, target)
    assert loaded > 100
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", text), style.name


def test_every_document_is_in_the_site(site: Path) -> None:
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT / "docs").as_posix()
        built = name.replace("README.md", "index.md").removesuffix(".md")
        assert (site / f"{built}.html").is_file(), name


@pytest.mark.parametrize("name", APPS)
def test_the_reference_has_every_command_and_option(site: Path, name: str) -> None:
    text = page(site, f"generated/{name}.html")
    found = commands([name], typer.main.get_command(APPS[name]))
    assert len(found) > 4
    for words, command in found:
        assert f">{words}<" in re.sub(r'<a class="headerlink".*?</a>', "<", text)
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert all(f"<code>{option}</code>" in text for option in parameter.opts), words


def test_the_routes_are_those_of_the_gateway(site: Path) -> None:
    document = openapi_document()
    assert json.loads(page(site, "generated/openapi.json")) == document
    text = page(site, "generated/openapi.html")
    for path, methods in document["paths"].items():
        assert all(f"{method.upper()} {path}" in text for method in methods)
    assert all(f'id="{name.lower()}"' in text for name in document["components"]["schemas"])


def test_the_python_reference_has_what_the_client_offers(site: Path) -> None:
    text = page(site, "generated/python-client.html")
    for name in (
        "http.calculator.RemoteCalculator",
        "http.client.Client",
        "md.monitor.MDMonitor",
        "structures.StructureBatch",
        "errors.ForcegateError",
        "md.nve.run_nve",
    ):
        assert f'id="forcegate_client.{name}"' in text, name
    assert 'id="forcegate_service.api.app.create_app"' in page(
        site, "generated/python-service.html"
    )


def test_errors_and_the_format_of_the_data_are_those_of_the_code(site: Path) -> None:
    errors = page(site, "generated/error-classes.html")
    assert all(f"<code>{cls.default_code}</code>" in errors for cls in _client_errors())
    schema = page(site, "generated/hdf5.html")
    assert all(f"<code>{source.name}</code>" in schema for source in Source)
    assert re.search(r"<code>positions</code></td>\s*<td>i32 \[N, 3\]", schema)


def _client_errors() -> list[type[ForcegateError]]:
    below = ForcegateError.__subclasses__()
    return [cls for cls in below if cls.__module__ == "forcegate_client.errors"]


def test_the_search_finds_what_pages_say(site: Path) -> None:
    index = json.loads(page(site, "search/search_index.json"))
    assert any("RemoteCalculator" in entry["text"] for entry in index["docs"])


@pytest.mark.system
def test_the_search_works_from_a_folder_without_a_server(site: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        page.open((site / "index.html").as_uri())
        page.click('label[for="__search"]')
        page.run(
            "(() => { const box = document.querySelector('.md-search__input');"
            " box.focus(); box.value = 'novelty';"
            " box.dispatchEvent(new Event('input', {bubbles: true}));"
            " box.dispatchEvent(new Event('keyup', {bubbles: true})); })()"
        )
        page.until("document.querySelectorAll('.md-search-result__item').length > 1")
        assert "novelty" in page.text(".md-search-result__list").lower()
        assert not page.errors
        assert all(url.startswith(("file:", "data:", "blob:")) for url in page.requested)
