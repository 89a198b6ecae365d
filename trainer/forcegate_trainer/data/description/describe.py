"""Dataset files in, a folder that describes them out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from forcegate_client.dataset import concatenate, load_dataset
from forcegate_trainer.data.description.document import markdown
from forcegate_trainer.data.description.plots import draw
from forcegate_trainer.data.description.statistics import Statistics, describe
from forcegate_trainer.data.molecules.splits import trained_when_common

__all__ = ["JSON_NAME", "MARKDOWN_NAME", "describe_files"]

JSON_NAME = "statistics.json"
MARKDOWN_NAME = "statistics.md"
DPI = 130


def describe_files(paths: Sequence[str | Path], out: str | Path) -> Statistics:
    """Write ``statistics.json``, ``statistics.md`` and figures (PNG) of all files together.

    Raises:
        DatasetError: if a file cannot be read, or files do not belong together: labels of several
            teachers, labels for a part only, a molecule in two splits.
        SettingsError: if there is no frame.
    """
    parts = [trained_when_common(load_dataset(path)) for path in paths]
    # A single file is described even if its splits leak, which is what its reader must be told.
    dataset = parts[0] if len(parts) == 1 else concatenate(parts)
    statistics = describe(dataset)
    figures = draw(dataset, statistics)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=DPI)
    title = ", ".join(Path(path).name for path in paths)
    page = markdown(statistics, title, figures)
    (folder / MARKDOWN_NAME).write_text(page, encoding="utf-8")
    text = json.dumps(statistics.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / JSON_NAME).write_text(text + "\n", encoding="utf-8")
    return statistics
