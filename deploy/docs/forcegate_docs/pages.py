"""Every page that is made from code."""

from __future__ import annotations

import json
from pathlib import Path

import jupytext
import typer

from forcegate_client.cli.app import app as client_app
from forcegate_docs.command_lines import command_line
from forcegate_docs.error_classes import error_classes
from forcegate_docs.gateway import openapi_document
from forcegate_docs.hdf5 import hdf5_schema
from forcegate_docs.openapi_page import openapi_page
from forcegate_docs.python_pages import PYTHON_PAGES, python_page
from forcegate_service.cli import create_cli
from forcegate_trainer.cli.app import create_app

__all__ = ["generated_pages", "openapi_json"]

ROOT = Path(__file__).parents[3]
_QUICKSTART = ROOT / "examples" / "quickstart.py"


def generated_pages() -> dict[str, str]:
    """File names and Markdown."""
    apps: dict[str, typer.Typer] = {
        "forcegate": client_app,
        "forcegate-serve": create_cli(),
        "forcegate-train": create_app(),
    }
    return {
        **{f"{name}.md": command_line(name, app) for name, app in apps.items()},
        **{f"python-{page.name}.md": python_page(page) for page in PYTHON_PAGES},
        "openapi.md": openapi_page(openapi_document()),
        "error-classes.md": error_classes(),
        "hdf5.md": hdf5_schema(),
        "quickstart.md": _quickstart(),
    }


def openapi_json() -> str:
    """The gateway's OpenAPI document, as it answers ``GET /openapi.json``."""
    return json.dumps(openapi_document(), indent=2, ensure_ascii=False)


def _quickstart() -> str:
    notebook = jupytext.read(_QUICKSTART)
    parts = [
        f"```python\n{cell.source}\n```" if cell.cell_type == "code" else str(cell.source)
        for cell in notebook.cells
    ]
    return "\n\n".join(parts) + "\n"
