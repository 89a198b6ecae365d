"""Work that grows for hours and may be killed at any moment: a folder of complete parts.

``<out>.parts/`` holds ``job.json``, which says what work this is, and one small dataset for every
finished piece, each written whole (:func:`~forcegate_client.dataset.store.write_dataset`). A killed
writer loses the pieces in flight. When all are there, they become ``<out>`` in one step and the
folder goes.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from forcegate_client.dataset.errors import DatasetCorruptError, DatasetMismatchError
from forcegate_client.dataset.frames import Dataset, concatenate
from forcegate_client.dataset.store import load_dataset, put_file, write_dataset


class PartedDataset:
    """A dataset in the making: numbered pieces, in any order of arrival.

    ``job`` (JSON values) identifies the work. Parts of other work are never mixed in.

    Raises:
        DatasetMismatchError: if ``out``, or its folder of parts, exists and belongs to other work.
    """

    def __init__(self, out: str | Path, job: Mapping[str, Any], pieces: int) -> None:
        self.out = Path(out)
        self.folder = self.out.with_name(self.out.name + ".parts")
        self.job = json.loads(json.dumps(dict(job)))
        self.pieces = pieces
        if self.out.exists():
            self._refuse_other_job(load_dataset(self.out).job, self.out)
        record = self.folder / "job.json"
        if record.exists():
            try:
                received = json.loads(record.read_text())
            except ValueError as error:
                raise DatasetCorruptError(
                    f"{record}: {error}", action=f"remove {self.folder} and begin again"
                ) from error
            self._refuse_other_job(received, self.folder)
        if not self.is_finished:
            put_file(record, json.dumps(self.job, indent=1, sort_keys=True).encode())

    @property
    def is_finished(self) -> bool:
        """Whether the whole file is there."""
        return self.out.exists()

    def done(self) -> set[int]:
        """Numbers of the pieces that are on disk and intact; damaged ones are removed."""
        found = set()
        for path in sorted(self.folder.glob("*.h5")):
            number = re.fullmatch(r"(\d{6})\.h5", path.name)
            if number is None:
                continue  # a temporary file of a killed writer
            try:
                load_dataset(path)
            except DatasetCorruptError:
                path.unlink()
            else:
                found.add(int(number.group(1)))
        return found

    def add(self, piece: int, dataset: Dataset) -> None:
        """Put one piece on disk; when this returns, it survives anything but the disk's loss."""
        write_dataset(self._path(piece), dataset)

    def finish(self, dropped_before: Mapping[str, int], **metadata: Any) -> Dataset:
        """Make the whole file out of all pieces, in order, and remove the folder.

        ``dropped_before`` is added to the pieces' counts of dropped frames; ``metadata`` are other
        fields of the dataset (seed, code version).

        Raises:
            DatasetMismatchError: if pieces are missing.
        """
        missing = set(range(self.pieces)) - self.done()
        if missing:
            raise DatasetMismatchError(
                f"{self.folder} lacks {len(missing)} of {self.pieces} pieces, first {min(missing)}",
                action="run the same command again to make them",
            )
        whole = concatenate([load_dataset(self._path(piece)) for piece in range(self.pieces)])
        dropped = Counter(whole.dropped) + Counter(dropped_before)
        whole = replace(whole, job=self.job, dropped=dict(dropped), **metadata)
        write_dataset(self.out, whole)
        shutil.rmtree(self.folder)
        return whole

    def _path(self, piece: int) -> Path:
        return self.folder / f"{piece:06d}.h5"

    def _refuse_other_job(self, received: Mapping[str, Any], where: Path) -> None:
        if received == self.job:
            return
        keys = [k for k in {**self.job, **received} if received.get(k) != self.job.get(k)]
        differences = "; ".join(
            f"{k}: {received.get(k)!r} there, {self.job.get(k)!r} now" for k in sorted(keys)
        )
        raise DatasetMismatchError(
            f"{where} belongs to other work ({differences})",
            expected="to continue the same work",
            action="repeat the earlier command, choose another output, or delete it",
        )
