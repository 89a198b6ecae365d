"""Puts the students of ../model_repository into the wheel, and what their cards say into its
metadata. Nothing names a model: what is published is what lies there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

_HERE = Path(__file__).parent
# In a source distribution they are where the wheel has them.
_PACKED = Path("forcegate_models") / "repository"
_CARD, _FILES = "model_card.json", ("model_card.json", "model.safetensors")


def published() -> list[Path]:
    """The folders of all versions that the engine can open, by model, the oldest first."""
    packed = _HERE / _PACKED
    repository = packed if packed.is_dir() else _HERE.parent / "model_repository"
    found = [card.parent for card in repository.glob(f"*/*/{_CARD}")]
    whole = [folder for folder in found if all((folder / name).is_file() for name in _FILES)]
    return sorted(whole, key=lambda folder: (folder.parent.name, int(folder.name)))


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds them, each in its folder. In a checkout they are read where they are."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling."""
        if version == "editable":
            return
        for folder in published():
            place = _PACKED / folder.parent.name / folder.name
            for name in _FILES:
                build_data["force_include"][str(folder / name)] = str(place / name)
            pointer = folder.parent / "default.json"
            if pointer.is_file():
                build_data["force_include"][str(pointer)] = str(place.parent / pointer.name)


class CustomMetadataHook(MetadataHookInterface):
    """Writes the description that package indexes show."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling."""
        text = (_HERE / "README.md").read_text(encoding="utf-8") + "\n" + _table()
        # Links to files of the checkout lead nowhere from an index.
        for link in ("[forcegate](../README.md)", "[forcegate-engine](../engine/README.md)"):
            text = text.replace(link, link[1:].partition("]")[0])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def _table() -> str:
    lines = [
        "| student | parameters | elements | teacher | learned from | its SHA-256 | verdicts |",
        "|---|---|---|---|---|---|---|",
    ]
    for folder in published():
        card = json.loads((folder / _CARD).read_bytes())
        teacher, train = card["teacher"], card["dataset"]["train"]
        verdicts = (f"{use}: {verdict}" for use, verdict in card["status"].items())
        cells = (
            f"{card['name']} {card['version']}",
            f"{card['n_parameters']:,}",
            ", ".join(map(str, card["elements"])),
            f"{teacher['name']} {teacher['version']}",
            f"{train['frames']:,} frames of {train['molecules']:,} molecules",
            card["dataset"]["sha256"],
            ", ".join(verdicts),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
