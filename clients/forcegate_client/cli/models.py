"""``forcegate models``: what the server offers."""

from __future__ import annotations

from rich.table import Table

from forcegate_client.cli.console import out_console
from forcegate_client.cli.options import UrlOption, connect

__all__ = ["models"]


def models(url: UrlOption = None) -> None:
    """List the served models, their versions and what they are approved for."""
    with connect(url) as client:
        entries = client.models()
    table = Table("model", "default", "versions", "approval of the default", "digest")
    for entry in entries:
        table.add_row(
            entry["name"],
            entry["default_version"],
            ", ".join(entry["versions"]),
            ", ".join(f"{use}: {verdict}" for use, verdict in entry["status"].items()),
            # As much as tells two versions apart at a glance.
            entry["digest"][:19],
        )
    out_console().print(table)
