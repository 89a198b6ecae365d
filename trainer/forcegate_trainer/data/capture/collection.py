"""The frames of a capture folder as a dataset that the teacher can label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forcegate_client.dataset import (
    Dataset,
    DatasetError,
    Frame,
    MoleculeTable,
    Source,
    Split,
    from_frames,
    load_dataset,
)
from forcegate_service.watch.capture.fingerprint import fingerprint
from forcegate_trainer.data.capture.admission import Admission, Identity
from forcegate_trainer.errors import LabelError, SettingsError

__all__ = ["collect"]


def collect(
    folder: Path, admission: Admission, tell: Callable[[str], None] = lambda text: None
) -> Dataset:
    """Each geometry that ``admission`` lets in, once; what it does not is counted by reason.

    A part that cannot be read is told of and left out.

    Raises:
        SettingsError: if ``folder`` is none of a gateway's, or nothing in it may be trained on.
    """
    frames: list[tuple[Identity, Frame]] = []
    dropped: Counter[str] = Counter()
    seen: set[str] = set()
    for numbers, positions in _structures(folder, tell):
        found = fingerprint(numbers, positions)
        if found in seen:
            dropped["captured_twice"] += 1
            continue
        seen.add(found)
        try:
            identity = admission.admit(numbers, positions)
        except LabelError as error:
            dropped[error.reason] += 1
            continue
        frames.append((identity, Frame(numbers, positions, 0, Source.CAPTURED)))
    if not frames:
        counted = ", ".join(f"{n} {reason}" for reason, n in sorted(dropped.items())) or "nothing"
        raise SettingsError(
            f"received {folder} with {counted}; expected at least one structure of a molecule of "
            "the training split"
        )
    return _dataset(frames, dropped)


def _structures(
    folder: Path, tell: Callable[[str], None]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    paths = sorted(folder.glob("*.h5")) if folder.is_dir() else []
    if not paths:
        raise SettingsError(
            f"received {folder}, which holds no captured structures; expected the "
            "FORCEGATE_CAPTURE_DIR of a gateway"
        )
    for path in paths:
        try:
            part = load_dataset(path)
        except DatasetError as error:
            tell(str(error))
            continue
        for frame in range(len(part)):
            where = part.atoms_of(frame)
            yield part.atomic_numbers[where], part.positions[where]


def _dataset(frames: Sequence[tuple[Identity, Frame]], dropped: Counter[str]) -> Dataset:
    identities = sorted({identity for identity, _ in frames}, key=lambda one: one.smiles)
    rows = {identity: row for row, identity in enumerate(identities)}
    # One molecule's frames in a row, as `label` takes them.
    frames = sorted(frames, key=lambda pair: rows[pair[0]])
    table = MoleculeTable.closed_shell(
        [one.smiles for one in identities],
        [one.inchikey for one in identities],
        [one.split_key for one in identities],
        [Split.TRAIN] * len(identities),
    )
    numbered = [
        Frame(frame.atomic_numbers, frame.positions, rows[identity], frame.source)
        for identity, frame in frames
    ]
    return from_frames(numbered, table, dropped=dict(dropped), code_version=version("forcegate"))
