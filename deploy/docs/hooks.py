"""What mkdocs calls while it builds the site: pages from code, and pages from outside docs/."""

from __future__ import annotations

import tomllib
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from forcegate_docs.carried import ROOT, carried, reports, rewritten
from forcegate_docs.github_lists import with_python_markdown_lists
from forcegate_docs.navigation import completed
from forcegate_docs.pages import generated_pages, openapi_json

# Pages of parts that a checkout may lack.
OPTIONAL = frozenset({"screening.md"})
# The icon of the gateway's page is the site's too.
ICON = ROOT / "service" / "forcegate_service" / "api" / "page" / "icon.svg"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation by what this checkout has, and say which version this is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    config.site_name = f"{config.site_name} {project['version']}"
    config.nav = completed(config.nav, config.docs_dir, OPTIONAL, reports())
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what is generated, and what lies elsewhere in the repository."""
    for name, content in generated_pages().items():
        files.append(File.generated(config, f"generated/{name}", content=content))
    files.append(File.generated(config, "generated/openapi.json", content=openapi_json()))
    files.append(File.generated(config, "assets/icon.svg", abs_src_path=str(ICON)))
    for name, path in carried().items():
        files.append(File.generated(config, f"repository/{name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Links lead to where files lie in the site, and lists are read as GitHub reads them."""
    return with_python_markdown_lists(rewritten(markdown, page.file.src_uri))
