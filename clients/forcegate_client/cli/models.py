"""``forcegate models``: what the server offers."""

from __future__ import annotations

import csv as comma_separated
import json as javascript_objects
import sys
from typing import Any

from forcegate_client.cli.console import out_console
from forcegate_client.cli.options import (
    CsvOption,
    JsonOption,
    LocalOption,
    RepositoryOption,
    UrlOption,
    connect,
    one_form,
)
from forcegate_client.cli.tables import ResultTable

__all__ = ["models"]


def models(
    url: UrlOption = None,
    local: LocalOption = False,
    repository: RepositoryOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """List the models, their versions and what they are approved for."""
    one_form(json, csv)
    with connect(url, local, repository) as client:
        entries = client.models()
    if json:
        print(javascript_objects.dumps({"models": entries}, indent=1, ensure_ascii=False))
    elif csv:
        _print_csv(entries)
    else:
        _show(entries)


def _print_csv(entries: list[dict[str, Any]]) -> None:
    uses = sorted({use for entry in entries for use in entry["status"]})
    names = ["name", "default_version", "versions", "digest", "elements"]
    writer = comma_separated.DictWriter(sys.stdout, [*names, *uses], lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        row = {name: entry[name] for name in names} | entry["status"]
        lists = {name: " ".join(map(str, entry[name])) for name in ("versions", "elements")}
        writer.writerow(row | lists)


def _show(entries: list[dict[str, Any]]) -> None:
    table = ResultTable(("model", "default", "versions", "digest"), (), "approval of the default")
    for entry in entries:
        verdicts = ", ".join(f"{use}: {verdict}" for use, verdict in entry["status"].items())
        # As much of the digest as tells two versions apart at a glance.
        cells = (entry["name"], entry["default_version"] or "none", ", ".join(entry["versions"]))
        table.add((*cells, entry["digest"][:19]), [verdicts])
    table.show(out_console())
