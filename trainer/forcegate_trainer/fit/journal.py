"""What a run tells while it goes on: a line per validation, and curves for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from forcegate_trainer.errors import SettingsError
from forcegate_trainer.network.storage import METRICS_NAME, TENSORBOARD_NAME

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["Journal"]

# Steps between two points of a training curve.
_EVERY = 20


class Journal:
    """``metrics.jsonl`` and, with ``curves``, TensorBoard's events, from ``step`` on.

    What a run told beyond the checkpoint that it goes on from will be told again, so it is taken
    back: rows are cut off, and TensorBoard is asked to forget the events.

    Raises:
        SettingsError: if curves are wanted and TensorBoard is not installed.
    """

    def __init__(self, folder: Path, step: int, *, curves: bool) -> None:
        self._rows = folder / METRICS_NAME
        _cut_rows(self._rows, step)
        self._writer = _writer(folder / TENSORBOARD_NAME, step) if curves else None

    def step(self, step: int, values: dict[str, float]) -> None:
        """Figures of one training step."""
        if self._writer is not None and step % _EVERY == 0:
            for name, value in values.items():
                self._writer.add_scalar(f"training/{name}", value, step)

    def validation(self, step: int, row: dict[str, float]) -> None:
        """One validation's figures, with what else belongs into its row."""
        with self._rows.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **row}) + "\n")
        if self._writer is not None:
            for name, value in row.items():
                self._writer.add_scalar(f"validation/{name}", value, step)
            self._writer.flush()

    def close(self) -> None:
        """Write what is not on the disk yet."""
        if self._writer is not None:
            self._writer.close()


def _cut_rows(path: Path, step: int) -> None:
    """Leave only whole rows of up to ``step``."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # the last one, of a run that was killed
            continue
        if row["step"] <= step:
            kept.append(line + "\n")
    aside = path.with_suffix(".partial")
    aside.write_text("".join(kept), encoding="utf-8")
    aside.replace(path)


def _writer(folder: Path, step: int) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SettingsError(
            f"received --tensorboard, which cannot be imported ({error}); "
            "pip install ./clients '.[trainer]' in a checkout, or give --no-tensorboard"
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1)
